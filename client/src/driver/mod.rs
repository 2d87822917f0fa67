//! The client's own task: it owns the connection and the core, and does what the handles ask for.
//!
//! One task per client, for all its sessions. Every queue that it fills is bounded, and it waits
//! for nobody but the router: see [`link`] for what happens where somebody is slow.

mod again;
mod catchup;
mod commands;
mod incoming;
mod link;
mod login;
mod seen;
mod tables;

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};

use self::link::{End, Link};
use self::tables::Tables;
use crate::builder::Plan;
use crate::client::{Client, Shared, Status};
use crate::command::{Command, Control};
use crate::error::Error;
use crate::url::Target;

/// What lives as long as the client.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    target: Target,
    plan: Plan,
    commands: mpsc::Receiver<Command>,
    control: mpsc::UnboundedReceiver<Control>,
    status: watch::Sender<Status>,
    tables: Tables,
    epoch: u64,
}

/// Connects, joins, and starts the client's task.
pub(crate) async fn start(target: Target, plan: Plan) -> Result<Client, Error> {
    let link = login::establish(&target, &plan, 0).await?;
    let (send_command, commands) = mpsc::channel(COMMANDS);
    let (send_control, control) = mpsc::unbounded_channel();
    let (status, seen) = watch::channel(Status::Connected(link.session.clone()));
    let (space, reconnects) = (Arc::new(Notify::new()), plan.reconnect.is_some());
    let shared = Shared::new(plan.codec, reconnects, space, send_command, send_control, seen);
    let shared = Arc::new(shared);
    let client = Client::new(Arc::clone(&shared));
    let tables = Tables::default();
    let driver = Driver { shared, target, plan, commands, control, status, tables, epoch: 0 };
    tokio::spawn(driver.run(link));
    Ok(client)
}

impl Driver {
    async fn run(mut self, mut link: Link) {
        let reason = loop {
            let end = self.drive(&mut link).await;
            link.fail_all();
            let reason = match end {
                End::Over(reason) => break reason,
                End::Lost(reason) => reason,
            };
            match self.connect_again(reason).await {
                Ok(new) => link = new,
                Err(reason) => break reason,
            }
        };
        self.tables.close();
        self.commands.close();
        // Whoever waits learns it when the requests are dropped with the channel.
        self.status.send_replace(Status::Closed { reason });
    }
}

/// Requests of the application that wait to be taken; more wait where they are made.
const COMMANDS: usize = 256;
