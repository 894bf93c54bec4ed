//! The commands that pages give to copy, against a real server.
//!
//! Only addresses and paths of files differ from the pages, and `make build` is left out: the programs are those that
//! were built for the tests.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use kelvin_testing::{Process, is_installed, not_run};
use tempfile::TempDir;

/// The opening fence of the blocks of `docs/api.md` that are calls by grpcurl.
const GRPCURL: &str = "```sh grpcurl\n";

/// A directory to run commands in, with the programs in `target/release` and on PATH.
struct TestDir(TempDir);

impl TestDir {
    /// None where a program is missing.
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let release = dir.path().join("target/release");
        fs::create_dir_all(&release).unwrap();
        let built = Path::new(env!("CARGO_BIN_EXE_kelvin")).parent().unwrap();
        for program in ["kelvin", "kelvin-server", "kelvin-client"] {
            if !built.join(program).is_file() {
                not_run(program, &format!("{program} is not built; run cargo test with --workspace"));
                return None;
            }
            symlink(built.join(program), release.join(program)).unwrap();
        }
        let tools = is_installed("openssl", "version") && is_installed("grpcurl", "--version");
        tools.then_some(Self(dir))
    }

    fn shell(&self, commands: &str) -> Command {
        let mut shell = Command::new("bash");
        let paths = env::var_os("PATH").unwrap_or_default();
        let paths = [self.0.path().join("target/release")].into_iter().chain(env::split_paths(&paths));
        shell.args(["-euo", "pipefail", "-c", commands]).current_dir(self.0.path());
        shell.env_clear().env("PATH", env::join_paths(paths).unwrap());
        shell
    }

    /// Runs commands to their end, which must be success, and returns what they print.
    fn run(&self, commands: &str) -> String {
        let Output { status, stdout, stderr } = self.shell(commands).output().unwrap();
        let output = String::from_utf8_lossy(&stdout).into_owned();
        assert!(status.success(), "{commands}\n{output}\n{}", String::from_utf8_lossy(&stderr));
        output
    }

    /// Starts a command that runs until it is killed.
    fn start(&self, command: &str, settings: &[(&str, &str)]) -> Process {
        // The process is then the program, and not a shell that waits for it.
        let mut shell = self.shell(&format!("exec env {command}"));
        shell.env("KELVIN_HEALTH_LISTEN", "").envs(settings.iter().copied()).stdout(Stdio::piped());
        Process::new(shell.spawn().unwrap())
    }

    /// Starts a server on a free port, which is returned.
    fn serve(&self, command: &str) -> (Process, String) {
        let mut server = self.start(command, &[("KELVIN_LISTEN", "127.0.0.1:0")]);
        let serving = server.lines().until("\"serving\"");
        let (_, address) = serving.rsplit_once("\"address\":\"127.0.0.1:").expect("the address is logged");
        let port = address.split('"').next().unwrap().to_owned();
        (server, port)
    }

    /// Repeats a command until its output contains `text`.
    fn until(&self, text: &str, command: &str) {
        let mut output = String::new();
        for _ in 0..100 {
            output = self.run(command);
            if output.contains(text) {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("no {text} from {command}: {output}");
    }
}

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)).unwrap()
}

/// The blocks of code that begin with `fence`, in order.
fn blocks<'a>(page: &'a str, fence: &'a str) -> impl Iterator<Item = &'a str> {
    page.split(fence).skip(1).map(|rest| rest.split("```").next().unwrap_or_default())
}

/// The commands below a heading.
fn commands<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, section) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    blocks(section, "```sh\n").next().expect("the section has commands")
}

#[test]
fn commands_of_api_page_succeed() {
    let page = page("api.md");
    let mut quick_start = blocks(&page, "```sh\n");
    let (start, simulate) = (quick_start.next().unwrap(), quick_start.next().unwrap());
    let start = start.strip_prefix("make build\n").expect("the programs are built first");
    let (prepare, serve) = start.trim_end().rsplit_once('\n').expect("the last command starts the server");
    let calls: String = blocks(&page, GRPCURL).collect();
    let methods = ["SendSingleReading", "StreamSensorReadings", "GetSensorReadings", "SensorChat"];
    for expected in methods.iter().chain(&["list", "describe"]) {
        assert!(calls.contains(expected), "no {expected} in the grpcurl commands of docs/api.md:\n{calls}");
    }

    let Some(dir) = TestDir::new() else { return };
    dir.run(prepare);
    let (_server, port) = dir.serve(serve);
    let calls = calls.replace("localhost:50051", &format!("localhost:{port}"));
    let output = dir.run(&calls);
    for expected in methods.iter().chain(&["\"accepted\"", "\"temperature\"", "\"serverTime\"", "\"STATUS\""])
    {
        assert!(output.contains(expected), "no {expected} in:\n{output}");
    }
    let _client = dir.start(simulate, &[("KELVIN_SERVER", &format!("https://localhost:{port}"))]);
    let list = format!(
        "grpcurl -cacert certs/ca.crt -H \"authorization: $(cat certs/tokens)\" localhost:{port} SensorService/ListSensors"
    );
    dir.until("\"unary-", &list);
}

#[test]
fn commands_of_external_sensors_page_succeed() {
    let page = page("kubernetes-external-sensors.md");
    let (client, grpcurl) = (commands(&page, "### kelvin-client"), commands(&page, "### grpcurl"));

    let Some(dir) = TestDir::new() else { return };
    // What the cluster's Secrets contain.
    dir.run(
        "kelvin certs certs --names sensors.example.org; cp certs/ca.crt .; openssl rand -hex 16 > token",
    );
    let (_server, port) = dir.serve(
        "KELVIN_TLS_CERT=certs/server.crt KELVIN_TLS_KEY=certs/server.key KELVIN_TOKEN_FILE=token kelvin-server",
    );
    let with_port = |commands: &str| commands.replace("localhost:30051", &format!("localhost:{port}"));

    let authorization = " -H \"authorization: $(cat token)\"";
    let _client = dir.start(&with_port(client), &[]);
    let list = format!(
        "grpcurl -cacert ca.crt -authority sensors.example.org{authorization} localhost:{port} SensorService/ListSensors"
    );
    dir.until("\"greenhouse-", &list);

    assert!(dir.run(&with_port(grpcurl)).contains("\"accepted\": \"1\""));
    let anonymous = with_port(&grpcurl.replace(authorization, ""));
    let Output { status, stderr, .. } = dir.shell(&anonymous).output().unwrap();
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(!status.success() && stderr.contains("Unauthenticated"), "{anonymous}\n{stderr}");
}
