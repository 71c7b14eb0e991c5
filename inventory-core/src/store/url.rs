//! The database URL.

use std::str::FromStr;

/// The database: `sqlite:PATH` or `postgres://…`. Its debug form shows no password.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file.
    Sqlite(String),
    /// A libpq connection URL.
    Postgres(String),
}

/// The text is no database URL of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a database is sqlite:PATH or postgres://USER@HOST/NAME")]
pub struct BadUrl;

/// Parameters of libpq that are added unless the URL sets them: a server that does not answer is given up within
/// seconds, not minutes.
const LIBPQ_DEFAULTS: [(&str, &str); 6] = [
    ("connect_timeout", "3"),
    ("tcp_user_timeout", "5000"),
    ("keepalives_idle", "5"),
    ("keepalives_interval", "2"),
    ("keepalives_count", "3"),
    ("application_name", SERVERS),
];

/// Under which name Postgres lists the connections of servers.
pub(crate) const SERVERS: &str = "inventory";

/// Of several hosts, the one is meant that takes writes: the others copy it.
const WRITES: (&str, &str) = ("target_session_attrs", "read-write");

/// Whether a URL of Postgres names several hosts.
fn has_hosts(url: &str) -> bool {
    let (before, parameters) = url.split_once('?').unwrap_or((url, ""));
    let address = before.split_once("//").map_or(before, |(_, address)| address);
    let hosts = address.rsplit('@').next().unwrap_or_default().split('/').next().unwrap_or_default();
    // libpq takes names from `host` and addresses from `hostaddr`; either may list several.
    let named = parameters
        .split('&')
        .filter_map(|parameter| parameter.strip_prefix("host=").or_else(|| parameter.strip_prefix("hostaddr=")));
    named.chain([hosts]).any(|hosts| hosts.contains(',') || hosts.to_ascii_uppercase().contains("%2C"))
}

impl DatabaseUrl {
    /// The name of the backend: `sqlite` or `postgres`.
    pub fn backend(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    /// The same database for connections that Postgres lists under another name than those of servers. A name of the
    /// URL itself stays.
    pub(crate) fn named(&self, name: &str) -> Self {
        let Self::Postgres(url) = self else { return self.clone() };
        let Some((server, parameters)) = url.split_once('?') else { return self.clone() };
        let own = format!("application_name={SERVERS}");
        let named = parameters.split('&').map(|parameter| match parameter == own {
            true => format!("application_name={name}"),
            false => parameter.to_owned(),
        });
        Self::Postgres(format!("{server}?{}", named.collect::<Vec<_>>().join("&")))
    }
}

impl FromStr for DatabaseUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            // In memory, every connection would see a database of its own.
            if path.is_empty() || path.contains(":memory:") { Err(BadUrl) } else { Ok(Self::Sqlite(path.to_owned())) }
        } else if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            let mut url = text.to_owned();
            let defaults = LIBPQ_DEFAULTS.into_iter().chain(has_hosts(text).then_some(WRITES));
            for (name, value) in defaults {
                if !text.contains(&format!("{name}=")) {
                    url.push(if url.contains('?') { '&' } else { '?' });
                    url.push_str(&format!("{name}={value}"));
                }
            }
            Ok(Self::Postgres(url))
        } else {
            Err(BadUrl)
        }
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{path}"),
            Self::Postgres(url) => {
                let host = url.rsplit('@').next().unwrap_or_default();
                write!(
                    f,
                    "postgres://{}",
                    host.split(['?']).next().unwrap_or_default().trim_start_matches("postgres://")
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_hosts_the_one_that_takes_writes_is_meant() {
        let rows = [
            ("postgres://u@a,b/shop", true),
            ("postgres://u:x,y@a:1,b:2/shop?sslmode=require", true),
            ("postgres:///shop?host=a,b", true),
            ("postgres:///shop?host=a%2cb", true),
            ("postgres:///shop?hostaddr=10.0.0.1,10.0.0.2", true),
            ("postgres://u@a/shop?sslmode=require&hostaddr=10.0.0.1%2C10.0.0.2", true),
            ("postgres:///shop?hostaddr=10.0.0.1", false),
            ("postgres://u:x,y@a/shop,s", false),
            ("postgres://u@a/shop?options=-c%20a,b", false),
        ];
        for (text, expected) in rows {
            let Ok(DatabaseUrl::Postgres(url)) = text.parse() else { panic!("{text} is a URL") };
            assert_eq!(url.contains("target_session_attrs=read-write"), expected, "{url}");
        }
        let Ok(DatabaseUrl::Postgres(url)) = "postgres://a,b/shop?target_session_attrs=any".parse() else {
            panic!("it is a URL");
        };
        assert_eq!(url.matches("target_session_attrs").count(), 1, "{url}");
    }

    #[test]
    fn connections_get_another_name_unless_the_url_has_one() {
        let name = |text: &str| match text.parse::<DatabaseUrl>().expect("it is a URL").named("other") {
            DatabaseUrl::Postgres(url) => url.split("application_name=").nth(1).unwrap_or_default().to_owned(),
            DatabaseUrl::Sqlite(_) => panic!("it is a URL of Postgres"),
        };
        assert_eq!(name("postgres://a/shop"), "other");
        assert_eq!(name("postgres://a/shop?connect_timeout=1&sslmode=require"), "other");
        assert!(name("postgres://a/shop?application_name=inventory-2").starts_with("inventory-2"));
    }

    #[test]
    fn urls_are_read_and_shown_without_secrets() {
        let shown = |text: &str| text.parse::<DatabaseUrl>().map(|url| format!("{url:?}"));
        assert_eq!(shown("sqlite:inventory.db"), Ok("sqlite:inventory.db".into()));
        assert_eq!(shown("sqlite:///var/lib/i.db"), Ok("sqlite:/var/lib/i.db".into()));
        assert_eq!(shown("postgres://u:secret@db:5432/shop?sslmode=require"), Ok("postgres://db:5432/shop".into()));
        for bad in ["", "sqlite:", "sqlite::memory:", "mysql://x", "inventory.db"] {
            assert_eq!(shown(bad), Err(BadUrl), "{bad}");
        }
    }
}
