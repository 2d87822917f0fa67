//! What a webhook must say: which events are posted, as whom, and to where.

use super::check::{Findings, MILLISECONDS};
use super::fault::Fault;
use super::ways::judge_url;
use super::{Access, Config, Realm, Webhook};
use crate::router::MAX_WILDCARD_COMPONENTS;
use crate::wamp::{MatchPolicy, is_valid_pattern};

/// What is wrong with a webhook.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookFault {
    #[error("a webhook has no `{0}`")]
    Needs(&'static str),
    #[error("`{0}` is no name of a webhook")]
    BadName(String),
    #[error("an earlier webhook of this realm has the name `{0}`")]
    SameName(String),
    #[error("`{topic}` is no topic, or no pattern of topics that `match = \"{policy}\"` takes")]
    BadTopic { topic: String, policy: &'static str },
    #[error("`{topic}` has more bytes than `limits.uri_bytes` ({limit})")]
    LongTopic { topic: String, limit: usize },
    #[error("`{0}` stands there twice")]
    SameTopic(String),
    #[error("a webhook has {MOST_TOPICS} topics at most")]
    TooManyTopics,
    #[error("realm `{realm}` has no role `{role}`")]
    UnknownRole { realm: String, role: String },
    #[error("more than {MOST_SECRETS} secrets: each request is signed with all of them")]
    TooManySecrets,
    #[error("all webhooks together have more than {MOST_THREADS} requests under way")]
    TooManyThreads,
    #[error(
        "an event of `limits.message_bytes` ({message}) does not find room in `queue_bytes` \
         ({queue})"
    )]
    SmallQueue { message: usize, queue: usize },
}

impl WebhookFault {
    pub(super) fn help(&self) -> &'static str {
        match self {
            Self::Needs("topics") => "add a line as `topics = [\"com.example.order\"]`",
            Self::Needs("url") => "add a line as `url = \"https://app.example.org/events\"`",
            Self::Needs(_) => "add it",
            Self::BadName(_) => {
                "write up to 100 visible characters: it is the authid of its session"
            }
            Self::SameName(_) | Self::SameTopic(_) => "rename or remove one",
            Self::BadTopic { .. } => {
                "write a URI; for patterns also `match = \"prefix\"` or `match = \"wildcard\"`"
            }
            Self::LongTopic { .. } => "shorten it, or raise the limit",
            Self::TooManyTopics => "make several webhooks, or name a prefix of the topics",
            Self::UnknownRole { .. } => "add a `[[realm.role]]` with this `name`",
            Self::TooManySecrets => "remove those that no receiver has any more",
            Self::TooManyThreads => "each takes a thread: lower `concurrency`",
            Self::SmallQueue { .. } => "raise `queue_bytes`, or lower the limit",
        }
    }
}

/// Those of all realms.
pub(super) fn check_webhooks(config: &Config, findings: &mut Findings) {
    let mut threads = 0;
    for (index, realm) in config.realms.iter().enumerate() {
        for (number, webhook) in realm.webhooks.iter().enumerate() {
            let path = format!("realm.{index}.webhook.{number}");
            check_webhook(number, realm, config, &path, findings);
            check_topics(webhook, realm, config.limits.uri_bytes, &path, findings);
            let was_fine = threads <= MOST_THREADS;
            threads += webhook.concurrency;
            let is_over = was_fine && threads > MOST_THREADS;
            findings
                .add_if(is_over, format!("{path}.concurrency"), || WebhookFault::TooManyThreads);
        }
    }
}

fn check_webhook(
    number: usize,
    realm: &Realm,
    config: &Config,
    path: &str,
    findings: &mut Findings,
) {
    let webhook = &realm.webhooks[number];
    let key = |name: &str| format!("{path}.{name}");
    let name = &webhook.name;
    let is_visible = |letter: char| !letter.is_control() && !letter.is_whitespace();
    let is_name = (1..=MOST_NAME).contains(&name.chars().count()) && name.chars().all(is_visible);
    findings.add_if(!is_name, key("name"), || WebhookFault::BadName(name.clone()));
    let is_same = realm.webhooks[..number].iter().any(|other| other.name == *name);
    findings.add_if(is_same, key("name"), || WebhookFault::SameName(name.clone()));
    if webhook.url.is_empty() {
        findings.add(path, WebhookFault::Needs("url"));
    } else if let Err(fault) = judge_url(&webhook.url, webhook.plain_http) {
        findings.add(key("url"), fault);
    }
    let role = &webhook.role;
    findings.add_if(role.is_empty(), path, || WebhookFault::Needs("role"));
    if let Access::Roles(roles) = &realm.access {
        let is_unknown = !role.is_empty() && !roles.iter().any(|other| other.name == *role);
        findings.add_if(is_unknown, key("role"), || WebhookFault::UnknownRole {
            realm: realm.name.clone(),
            role: role.clone(),
        });
    }
    let has_many = webhook.secrets.len() > MOST_SECRETS;
    findings.add_if(has_many, key("secrets"), || WebhookFault::TooManySecrets);
    findings.range(&key("timeout_ms"), webhook.timeout_ms, 10..=600_000, MILLISECONDS);
    findings.range(&key("retry_ms"), webhook.retry_ms, 0..=86_400_000, MILLISECONDS);
    findings.range(&key("concurrency"), webhook.concurrency, 1..=64, "");
    findings.range(&key("queue_events"), webhook.queue_events, 1..=1_000_000, "");
    findings.range(&key("queue_bytes"), webhook.queue_bytes, 4096..=1 << 30, " bytes");
    let (message, queue) = (config.limits.message_bytes, webhook.queue_bytes);
    let is_small = queue < message;
    findings.add_if(is_small, key("queue_bytes"), || WebhookFault::SmallQueue { message, queue });
}

fn check_topics(
    webhook: &Webhook,
    realm: &Realm,
    limit: usize,
    path: &str,
    findings: &mut Findings,
) {
    let (topics, policy) = (&webhook.topics, webhook.policy);
    let key = format!("{path}.topics");
    findings.add_if(topics.is_empty(), path, || WebhookFault::Needs("topics"));
    findings.add_if(topics.len() > MOST_TOPICS, &*key, || WebhookFault::TooManyTopics);
    for (number, topic) in topics.iter().enumerate().take(MOST_TOPICS) {
        let components = topic.split('.').count();
        let is_long = policy == MatchPolicy::Wildcard && components > MAX_WILDCARD_COMPONENTS;
        let is_bad = is_long || !is_valid_pattern(topic, policy, realm.uri_rule);
        findings.add_if(is_bad, &*key, || WebhookFault::BadTopic {
            topic: topic.clone(),
            policy: policy.as_str(),
        });
        findings.add_if(topic.len() > limit, &*key, || WebhookFault::LongTopic {
            topic: topic.clone(),
            limit,
        });
        let is_same = topics[..number].contains(topic);
        findings.add_if(is_same, &*key, || WebhookFault::SameTopic(topic.clone()));
    }
    // One of a name that is empty is found as such.
    findings.add_if(
        topics.iter().any(String::is_empty) && policy == MatchPolicy::Exact,
        key,
        || Fault::Empty("topics".into()),
    );
}

/// Topics of one webhook: each is a subscription of its session.
const MOST_TOPICS: usize = 64;

/// Secrets of one webhook.
const MOST_SECRETS: usize = 4;

/// Characters of its name.
const MOST_NAME: usize = 100;

/// Threads that post.
const MOST_THREADS: usize = 256;

#[cfg(test)]
mod tests {
    use crate::config::{Config, Loader};

    fn read(webhook: &str) -> Result<Config, String> {
        let text = format!(
            "[[realm]]\nname = \"realm1\"\n[[realm.role]]\nname = \"hook\"\n\
             [[realm.webhook]]\n{webhook}\n"
        );
        Loader::from_text("a.toml", text).finish().map_err(|error| error.to_string())
    }

    const GOOD: &str = "name = \"orders\"\nurl = \"https://app.example.org/events\"\n\
        topics = [\"com.shop.order\"]\nrole = \"hook\"";

    #[test]
    fn a_webhook_says_what_where_and_as_whom() {
        let config = read(GOOD).unwrap();
        let webhook = &config.realms[0].webhooks[0];
        assert_eq!((&*webhook.name, webhook.concurrency), ("orders", 1));
        assert!(config.summary().to_string().contains("webhook `orders`"));
        assert!(read(&format!("{GOOD}\nmatch = \"prefix\"")).is_ok());
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let twice = format!("{GOOD}\n[[realm.webhook]]\n{GOOD}");
        let with = |rest: &str| format!("{GOOD}\n{rest}");
        for (text, said) in [
            ("url = \"https://x.org\"\ntopics = [\"a\"]\nrole = \"hook\"", "has no `name`"),
            (&GOOD.replace("url", "# url"), "a webhook has no `url`"),
            (&GOOD.replace("topics", "# topics"), "a webhook has no `topics`"),
            (&GOOD.replace("role", "# role"), "a webhook has no `role`"),
            (&GOOD.replace("\"hook\"", "\"no\""), "has no role `no`"),
            (&GOOD.replace("https", "http"), "plain HTTP to another machine"),
            (&GOOD.replace("https://", "mailto:"), "is no URL that can be asked"),
            (&GOOD.replace("orders", "my orders"), "is no name of a webhook"),
            (&GOOD.replace("com.shop.order", "com..order"), "`com..order` is no topic"),
            (&GOOD.replace("[\"com.shop.order\"]", "[\"a\", \"a\"]"), "`a` stands there twice"),
            (&twice, "an earlier webhook of this realm has the name `orders`"),
            (&with("concurrency = 65"), "concurrency` must be from 1 to 64"),
            (&with("queue_bytes = 5000"), "does not find room"),
            (&with("secrets = [\"whsec_abc\"]"), "the name of an environment variable"),
            (&with("secrets = [\"${STENTOR_NO_SUCH}\"]"), "`STENTOR_NO_SUCH` is not set"),
            // It is there wherever tests run, and no secret.
            (&with("secrets = [\"${PATH}\"]"), "must hold `whsec_` and base64 of 24 to 64 bytes"),
        ] {
            let fault = read(text).unwrap_err();
            assert!(fault.contains(said), "{text}: {fault}");
        }
    }
}
