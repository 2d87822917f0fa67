//! From a URL to a session: the connection, HELLO, CHALLENGE and WELCOME.

use std::sync::Arc;

use stentor_protocol::codec::client::decode;

use super::link::Link;
use crate::auth::Login;
use crate::builder::Plan;
use crate::client::Session;
use crate::core::{Core, Happening};
use crate::error::{ConnectError, Error, LoginError};
use crate::transport::{Connection, Incoming, Terms, connect};
use crate::url::Target;

/// Connects and joins, within the time that the plan has for it.
pub(super) async fn establish(target: &Target, plan: &Plan, epoch: u64) -> Result<Link, Error> {
    let timeout = plan.connect_timeout;
    match tokio::time::timeout(timeout, join(target, plan, epoch)).await {
        Ok(joined) => joined,
        Err(_) => {
            let target = target.text.clone();
            Err(ConnectError::Timeout { target, timeout }.into())
        }
    }
}

async fn join(target: &Target, plan: &Plan, epoch: u64) -> Result<Link, Error> {
    let terms = Terms { codec: plan.codec, receives_bytes: plan.receives_bytes };
    let mut connection = connect(target, terms, &plan.tls).await?;
    let mut core = Core::new(plan.codec, plan.limits);
    core.limit_messages(connection.sends_bytes);
    let mut random = [0; 56];
    getrandom::fill(&mut random).map_err(|error| ConnectError::Io {
        target: target.text.clone(),
        error: std::io::Error::other(error.to_string()),
    })?;
    let authid = plan.authid.as_deref();
    let login = Login::new(&plan.credentials, authid, random, connection.channel);
    let mut details = plan.details.clone();
    login.hello(&mut details).map_err(LoginError::from)?;
    core.hello(&plan.realm, details)?;
    let session = converse(&mut connection, &mut core, login).await?;
    Ok(Link::new(connection, core, session, epoch))
}

/// From HELLO to WELCOME.
async fn converse(
    connection: &mut Connection,
    core: &mut Core,
    mut login: Login,
) -> Result<Session, Error> {
    let ended = |error: &dyn std::fmt::Display| LoginError::Ended(error.to_string());
    loop {
        while let Some(message) = core.take_message() {
            connection.writer.push(message);
        }
        connection.writer.flush().await.map_err(|error| ended(&error))?;
        let bytes = match connection.reader.next().await.map_err(|error| ended(&error))? {
            Incoming::Message(bytes) => bytes,
            Incoming::Ping(payload) => {
                connection.writer.pong(&payload);
                continue;
            }
            Incoming::Sign => continue,
        };
        let message = decode(core.codec(), &bytes, core.limits().decode());
        let message = message.map_err(|error| ended(&error))?;
        match core.handle(message).map_err(|error| ended(&error))? {
            Happening::Challenged { method, extra } => {
                // Keys are derived, which may take a second.
                let answering = tokio::task::spawn_blocking(move || {
                    let answer = login.answer(&method, &extra);
                    (login, answer)
                });
                let (same, answer) = answering.await.map_err(|error| ended(&error))?;
                login = same;
                match answer {
                    Ok((signature, extra)) => core.authenticate(&signature, &extra)?,
                    Err(error) => return Err(give_up(connection, core, error.into()).await),
                }
            }
            Happening::Joined { session: id, details } => {
                if let Err(error) = login.welcome(&details) {
                    return Err(give_up(connection, core, error.into()).await);
                }
                return Ok(Session { id, details: Arc::new(details) });
            }
            Happening::Aborted { reason, message } => {
                return Err(LoginError::Refused { reason, message }.into());
            }
            _ => {}
        }
    }
}

/// Tells the router that there will be no session.
async fn give_up(connection: &mut Connection, core: &mut Core, error: LoginError) -> Error {
    core.abort("wamp.error.authentication_failed", &error.to_string());
    while let Some(message) = core.take_message() {
        connection.writer.push(message);
    }
    // The error counts, whether the router hears of it or not.
    let _ = connection.writer.close().await;
    error.into()
}
