//! russh, driven over standard input: see interop/program.py for the commands.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use russh::client::{self, ChannelOpenHandle, Handle, Msg, Session};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key};
use russh::{Channel, ChannelMsg, Disconnect, Limits};
use tokio::io::{AsyncBufReadExt, BufReader, copy_bidirectional, stdin};
use tokio::net::TcpStream;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Targets = Arc<Mutex<HashMap<(String, u32), u16>>>;

struct Incoming {
    targets: Targets,
}

impl client::Handler for Incoming {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true) // the gateway was started for this run alone
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        address: &str,
        port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        let target = self.targets.lock().unwrap().get(&(address.to_string(), port)).copied();
        tokio::spawn(async move {
            let Some(target) = target else { return };
            if let Ok(local) = TcpStream::connect(("127.0.0.1", target)).await {
                reply.accept().await;
                relay(channel, local).await;
            }
        });
        Ok(())
    }
}

async fn relay(channel: Channel<Msg>, mut local: TcpStream) {
    let mut stream = channel.into_stream();
    if let Err(error) = copy_bidirectional(&mut stream, &mut local).await {
        eprintln!("relay: {error}");
    }
}

async fn login(words: &[&str], targets: &Targets) -> Result<Handle<Incoming>, Failure> {
    let [host, port, user, key, rekey] = words else { return Err("login takes five words".into()) };
    let bytes: usize = rekey.parse()?;
    let mut config = client::Config::default();
    if bytes > 0 {
        config.limits = Limits::new(bytes, bytes, std::time::Duration::from_secs(3600));
    }
    let handler = Incoming { targets: targets.clone() };
    let mut session = client::connect(Arc::new(config), (*host, port.parse::<u16>()?), handler).await?;
    let hash = session.best_supported_rsa_hash().await?.flatten();
    let key = PrivateKeyWithHashAlg::new(Arc::new(load_secret_key(key, None)?), hash);
    if !session.authenticate_publickey(*user, key).await?.success() {
        return Err("the key was refused".into());
    }
    Ok(session)
}

async fn exec(session: &Handle<Incoming>, command: &str) -> Result<String, Failure> {
    let mut channel = session.channel_open_session().await?;
    channel.exec(true, command).await?;
    let (mut code, mut output) = (None, Vec::new());
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } => output.extend_from_slice(&data),
            ChannelMsg::ExitStatus { exit_status } => code = Some(exit_status),
            _ => {}
        }
    }
    let hex: String = output.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{} {hex}", code.ok_or("no exit status came")?))
}

async fn obey(session: &mut Option<Handle<Incoming>>, targets: &Targets, line: &str) -> Result<String, Failure> {
    let words: Vec<&str> = line.split(' ').collect();
    if words[0] == "login" {
        *session = Some(login(&words[1..], targets).await?);
        return Ok(String::new());
    }
    let open = session.as_mut().ok_or("log in first")?;
    match words[..] {
        ["forward", host, port, target] => {
            let asked: u32 = port.parse()?;
            let given = open.tcpip_forward(host, asked).await?;
            let bound = if asked == 0 { given } else { asked };
            targets.lock().unwrap().insert((host.to_string(), bound), target.parse()?);
            Ok(bound.to_string())
        }
        ["cancel", host, port] => {
            open.cancel_tcpip_forward(host, port.parse()?).await?;
            Ok(String::new())
        }
        ["direct", host, port, target] => {
            let channel = open.channel_open_direct_tcpip(host, port.parse()?, "127.0.0.1", 1).await?;
            tokio::spawn(relay(channel, TcpStream::connect(("127.0.0.1", target.parse::<u16>()?)).await?));
            Ok(String::new())
        }
        ["rekey"] => Ok(String::new()), // by Limits
        ["quit"] => {
            open.disconnect(Disconnect::ByApplication, "", "").await?;
            match session.take().unwrap().await {
                Ok(()) | Err(russh::Error::Disconnect) => Ok(String::new()),
                Err(error) => Err(error.into()),
            }
        }
        _ if line.starts_with("exec ") => exec(open, &line[5..]).await,
        _ => Err("unknown command".into()),
    }
}

#[tokio::main]
async fn main() {
    println!("ready russh {:?}", client::Config::default().client_id);
    let (mut session, targets) = (None, Targets::default());
    let mut lines = BufReader::new(stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match obey(&mut session, &targets, &line).await {
            Ok(answer) => println!("ok {answer}"),
            Err(error) => println!("no {error}"),
        }
        if line == "quit" {
            break;
        }
    }
}
