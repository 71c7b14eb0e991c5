//! The program `inventory-grpc`: the server and the operator's commands, chosen by the first argument.
//!
//! It ends with exit code 0, or with one sentence on standard error and exit code 1, or 2 for wrong usage, for a server
//! that was not reached, and for an unknown outcome. It decides nothing itself: `server` and `commands` do the work.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use inventory_core::store::{DatabaseUrl, Store};
use inventory_grpc::config::{Cli, Command, Migrate, Serve};
use inventory_grpc::{commands, server};
use inventory_program::{Out, OutputError};

/// One thread allocates the many small parts of a request and another frees them; this allocator is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Cli { command, sight } = Cli::parse();
    inventory_program::run("inventory-grpc", sight, async {
        match command {
            Command::Serve(settings) => serve(settings).await,
            Command::Migrate(settings) => migrate(&settings),
            Command::Import(settings) => commands::import::import(settings).await,
            Command::Export(settings) => commands::export::export(settings).await,
            Command::Verify(settings) => commands::verify::verify(settings).await,
            Command::Backup(settings) => commands::backup::backup(settings).await,
            Command::Copy(settings) => commands::copy::copy(settings).await,
            Command::Health(server) => commands::health::health(server).await,
            Command::Stock(command) => commands::stock::stock(command).await,
            Command::Why(settings) => commands::why::why(settings).await,
            Command::Order(settings) => commands::order::order(settings).await,
            Command::Watch(settings) => commands::watch::watch(settings).await,
            Command::Token(command) => commands::token::token(command).await,
            Command::Ledger(command) => commands::archive::ledger(command).await,
            Command::Site(command) => commands::site::site(command).await,
        }
    })
}

async fn serve(settings: Serve) -> Result<(), Box<dyn Error>> {
    let admin = inventory_program::serve_metrics(settings.admin_listen)?;
    let options = settings.listen.options();
    let backend = settings.listen.database.database_url.backend();
    // Before the database is opened, which may take long: as process 1 of a container, the program would not hear a
    // SIGTERM that comes earlier.
    let stop = inventory_program::stop_on_signal(settings.drain)?;
    let (store, listener) = inventory_grpc::open(&settings.listen, inventory_program::reload_on_signal()?).await?;
    let address = listener.local_addr()?;
    Out::default().addresses([("grpc", Some(address)), ("admin", admin)])?;
    inventory_grpc::tell_start(backend, address, None, admin);
    Ok(server::serve(listener, store, options, stop).await?)
}

fn migrate(settings: &Migrate) -> Result<(), Box<dyn Error>> {
    let Migrate { database, grant_to } = settings;
    let url = &database.database_url;
    let steps = Store::migrate(url)?;
    // The role gets its rights before anything is printed: standard output may be full.
    let granted = grant_to.as_ref().map(|role| Store::grant(url, role));
    let printed = print_steps(url, &steps);
    // If both failed, the missing rights matter more.
    granted.transpose()?;
    let mut out = printed?;
    if let Some(role) = grant_to {
        out.line(format_args!("{url:?}: {role} may run the service"))?;
    }
    Ok(())
}

fn print_steps(url: &DatabaseUrl, steps: &[String]) -> Result<Out, OutputError> {
    let mut out = Out::default();
    if steps.is_empty() {
        out.line(format_args!("{url:?}: the schema is up to date"))?;
    }
    for step in steps {
        out.line(format_args!("{url:?}: applied {step}"))?;
    }
    Ok(out)
}
