//! The database servers in which peers keep their jobs: processes of our own, on private ports, in temporary folders.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// Longest wait for a server to answer, or to end: a `PostgreSQL` that was killed repairs itself first.
const LIMIT: Duration = Duration::from_mins(2);
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(10);
/// As users would set it for this; the rest is its default, and so is what it keeps: everything that was committed.
const POSTGRES: [&str; 4] =
    ["shared_buffers=256MB", "max_wal_size=4GB", "listen_addresses=127.0.0.1", "unix_socket_directories="];
/// Users that a server may run as, as `PostgreSQL` refuses to be root: of Debian's package, or of every system.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// What kind of server, and where its programs are.
#[derive(Clone, Debug)]
pub enum Kind {
    /// The folder of `initdb`, `pg_isready` and `postgres`.
    Postgres(PathBuf),
    /// The program, and when it writes its log of changes to the disk: `always`, or `everysec`.
    Redis(PathBuf, &'static str),
}

/// A server that runs. Killed when dropped, and when this process ends.
pub struct Server {
    process: Child,
    pub url: String,
    /// Ends it as quickly as is safe.
    ask: libc::c_int,
    /// Ends it at once.
    force: libc::c_int,
}

impl Kind {
    /// Starts it with its data in `folder`: `PostgreSQL` with what is there, Redis with none.
    pub async fn start(&self, folder: &Path) -> anyhow::Result<Server> {
        match self {
            Self::Postgres(programs) => postgres(programs, folder).await,
            Self::Redis(program, sync) => redis(program, sync, folder).await,
        }
    }
}

async fn postgres(programs: &Path, folder: &Path) -> anyhow::Result<Server> {
    let user = User::unprivileged()?;
    let data = folder.join("data");
    if !data.exists() {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o755))?;
        if let Some(user) = &user {
            chown(folder, Some(user.id), Some(user.group))?;
            user.ensure_may_enter(folder)?;
        }
        let mut initialize = Command::new(programs.join("initdb"));
        initialize.args(["--auth=trust", "--username=postgres", "--no-locale", "--encoding=UTF8", "--no-sync", "-D"]);
        run_as(&mut initialize, user.as_ref());
        let output = initialize.arg(&data).current_dir(folder).output()?;
        ensure!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let port = free_port()?;
    let mut command = Command::new(programs.join("postgres"));
    command.arg("-D").arg(&data).arg("-p").arg(port.to_string()).current_dir(folder);
    command.args(POSTGRES.iter().flat_map(|setting| ["-c", setting]));
    run_as(&mut command, user.as_ref());
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable");
    // a fast shutdown, and an immediate one
    let mut server = Server::spawn(command, folder, url, libc::SIGINT, libc::SIGQUIT)?;
    let ready = programs.join("pg_isready");
    let answers = || {
        let asked = Command::new(&ready).args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]).status();
        asked.is_ok_and(|status| status.success())
    };
    server.wait_until(answers, folder).await?;
    Ok(server)
}

async fn redis(program: &Path, sync: &str, folder: &Path) -> anyhow::Result<Server> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let port = free_port()?;
    let mut command = Command::new(program);
    command.args(["--bind", "127.0.0.1", "--daemonize", "no", "--save", "", "--port"]).arg(port.to_string());
    command.args(["--appendonly", "yes", "--appendfsync", sync, "--dir"]).arg(folder).current_dir(folder);
    let url = format!("redis://127.0.0.1:{port}/0");
    let mut server = Server::spawn(command, folder, url, libc::SIGTERM, libc::SIGKILL)?;
    server.wait_until(|| is_redis(port).is_ok_and(|is| is), folder).await?;
    Ok(server)
}

/// Whether a Redis answers that has loaded what it keeps.
fn is_redis(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PAUSE))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    Ok(answer == *b"+PONG")
}

/// A port that nobody has at this moment.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

impl Server {
    fn spawn(
        mut command: Command,
        folder: &Path,
        url: String,
        ask: libc::c_int,
        force: libc::c_int,
    ) -> anyhow::Result<Self> {
        let log = File::create(log(folder))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let die_with_us = move || {
            // SAFETY: a system call with two numbers, which a child may make between fork and exec.
            let answer = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, force) };
            if answer == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        };
        // SAFETY: the closure makes one system call and allocates nothing.
        unsafe { command.pre_exec(die_with_us) };
        let process = command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { process, url, ask, force })
    }

    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// Lets it write what it has to and end.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.signal(self.ask)?;
        let begun = Instant::now();
        while self.process.try_wait()?.is_none() {
            ensure!(begun.elapsed() < LIMIT, "process {} does not end", self.process());
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn wait_until(&mut self, answers: impl Fn() -> bool, folder: &Path) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !answers() {
            if let Some(status) = self.process.try_wait()? {
                bail!("the server ended with {status}: {}", fs::read_to_string(log(folder))?.trim());
            }
            ensure!(begun.elapsed() < LIMIT, "the server does not answer: {}", fs::read_to_string(log(folder))?.trim());
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    fn signal(&self, signal: libc::c_int) -> anyhow::Result<()> {
        let process = libc::pid_t::try_from(self.process())?;
        // SAFETY: a system call with two numbers; the process is ours and was not waited for, so its id is no other's.
        let answer = unsafe { libc::kill(process, signal) };
        ensure!(answer == 0, "cannot signal process {process}: {}", std::io::Error::last_os_error());
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        let ended = self.signal(self.force).and_then(|()| Ok(self.process.wait()?));
        if let Err(error) = ended {
            eprintln!("cannot end process {}: {error:#}", self.process.id());
        }
    }
}

fn log(folder: &Path) -> PathBuf {
    folder.join("server.log")
}

/// Somebody with no rights of root.
struct User {
    name: &'static str,
    id: u32,
    group: u32,
}

impl User {
    /// None if we are not root ourselves.
    fn unprivileged() -> anyhow::Result<Option<Self>> {
        let number = |arguments: &[&str]| -> Option<u32> {
            let output = Command::new("id").args(arguments).stderr(Stdio::null()).output().ok()?;
            String::from_utf8(output.stdout).ok()?.trim().parse().ok()
        };
        if number(&["-u"]).context("id says who we are")? != 0 {
            return Ok(None);
        }
        let found = USERS.iter().find_map(|name| {
            let (id, group) = (number(&["-u", name])?, number(&["-g", name])?);
            Some(Self { name, id, group })
        });
        Ok(Some(found.context("PostgreSQL refuses to be root, and there is no user postgres or nobody")?))
    }

    fn ensure_may_enter(&self, folder: &Path) -> anyhow::Result<()> {
        let mut look = Command::new("test");
        run_as(look.arg("-w").arg(folder), Some(self));
        let (name, shown) = (self.name, folder.display());
        ensure!(look.status()?.success(), "user {name} cannot enter {shown}: set CARGO_TARGET_DIR to a folder it can");
        Ok(())
    }
}

/// Lets a command run as this user, if any, and without our groups.
fn run_as(command: &mut Command, user: Option<&User>) {
    if let Some(user) = user {
        command.uid(user.id).gid(user.group);
    }
}
