//! Who looks at the gate that serves is answered here: at a socket of its own in the state folder, and, where `WEB` says so, by a page. On a
//! thread of its own, so that no peer delays a decision.

mod client;
mod html;
mod keys;
mod page;
mod server;
mod site;
mod sockets;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener as StdTcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};

pub(crate) use self::client::{Unanswered, ask};
pub(crate) use self::html::distance;
use self::keys::Keys;
use self::server::{Listener, serve};
use self::site::Site;
use super::status::{Look, Page};
use crate::files::owned_folder;
use crate::gate::Gate;
use crate::policy::{Settings, WebAddress};
use crate::setup;

/// How far this thread stands back behind the one that serves the daemon, in steps of `nice`: a tenth of its weight, while that one works.
const STAND_BACK: i32 = 10;
/// Threads for the files of the state folder.
const BLOCKING_THREADS: usize = 2;
/// How often the token's file is looked at, and a page that could not be served is tried again.
const LOOK: Duration = Duration::from_secs(5);

/// Answers from now on, for as long as the process runs. `workers` is where images are judged.
pub(super) fn answer(gate: Arc<Gate>, settings: &Settings, workers: tokio::runtime::Handle) {
    let settings = settings.clone();
    let run = move || {
        stand_back();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("status")
            .on_thread_start(stand_back)
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(listen(gate, settings, workers)),
            Err(error) => tracing::error!(%error, "nobody can look at this gate: no `status`, no page"),
        }
    };
    if let Err(error) = std::thread::Builder::new().name("status".to_owned()).spawn(run) {
        tracing::error!(%error, "nobody can look at this gate: no `status`, no page");
    }
}

async fn listen(gate: Arc<Gate>, settings: Settings, workers: tokio::runtime::Handle) {
    let state = settings.state_dir();
    let look = Look::new(gate, state.clone(), workers);
    let path = state.join(setup::STATUS_SOCKET);
    match sockets::bind(&path).and_then(UnixListener::from_std) {
        Ok(listener) => drop(tokio::spawn(serve(Listener::Unix(listener), Arc::new(Site::own(Arc::clone(&look)))))),
        Err(error) => tracing::error!(%error, socket = %path.display(), "`img-authz status` will find nobody"),
    }
    // A fault of the setting is told with all others, and there is no page.
    if let Some(address) = settings.web().ok().flatten() {
        let (listener, keys) = page(&look, &address, &state.join(setup::WEB_TOKEN)).await;
        tokio::spawn(serve(listener, Arc::new(Site::web(Arc::clone(&look), &address, Arc::clone(&keys)))));
        tracing::info!(%address, "the page is served");
        // Not before: who holds the port meanwhile is not to be shown to anybody with a token.
        look.page_is(Page::Served(address.to_string()));
        loop {
            tokio::time::sleep(LOOK).await;
            let keys = Arc::clone(&keys);
            // One that broke off has changed nothing.
            let _ = tokio::task::spawn_blocking(move || keys.look()).await;
        }
    }
    std::future::pending::<()>().await;
}

/// What the page needs, tried until it is there; what is in its way is told.
async fn page(look: &Look, address: &WebAddress, token: &Path) -> (Listener, Arc<Keys>) {
    let mut told = String::new();
    loop {
        match Keys::open(token).and_then(|keys| Ok((listener(address)?, keys))) {
            Ok((listener, keys)) => return (listener, Arc::new(keys)),
            Err(error) => {
                if error != told {
                    tracing::error!(error, %address, "there is no page; tried again each {} seconds", LOOK.as_secs());
                    look.page_is(Page::Missing { address: address.to_string(), why: error.clone() });
                    told = error;
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn listener(address: &WebAddress) -> Result<Listener, String> {
    let bound = match address {
        WebAddress::Socket(path) => {
            closed(path).and_then(|path| sockets::bind(&path)).and_then(UnixListener::from_std).map(Listener::Unix)
        }
        WebAddress::Port(port) => StdTcpListener::bind((Ipv4Addr::LOCALHOST, *port)).and_then(|listener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener).map(Listener::Local)
        }),
    };
    bound.map_err(|error| match (address, error.kind()) {
        (WebAddress::Port(_), ErrorKind::AddrInUse) => "another process holds the port".to_owned(),
        (WebAddress::Port(_) | WebAddress::Socket(_), _) => error.to_string(),
    })
}

/// The same place by its real folder, in which nobody but root puts another socket in the place of this one, and asks for the token there.
fn closed(path: &Path) -> std::io::Result<PathBuf> {
    let none = || std::io::Error::new(ErrorKind::InvalidInput, "it names no file");
    let (folder, name) = (path.parent().ok_or_else(none)?.canonicalize()?, path.file_name().ok_or_else(none)?);
    owned_folder(&folder)
        .map_err(|error| std::io::Error::new(error.kind(), format!("the socket's folder `{}`: {error}", folder.display())))?;
    Ok(folder.join(name))
}

/// For the calling thread alone, as Linux has it.
fn stand_back() {
    if let Err(error) = rustix::process::nice(STAND_BACK) {
        tracing::debug!(%error, "a thread that shows how the gate is doing keeps the priority of the one that serves");
    }
}

#[cfg(test)]
mod tests;
