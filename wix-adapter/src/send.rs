//! `wix-adapter send`: a simulator of Wix for people who develop against the adapter.
//!
//! It signs one request with a private key, sends it once, and prints the answer. It does not retry, and it sends no
//! field that the flags cannot set.

use std::error::Error;
use std::path::PathBuf;

use axum::body::Bytes;
use axum::http::{Request, Uri};
use clap::{Args, ValueEnum};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::EncodingKey;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::convert::Method;
use crate::{demo, signing, wire};

/// Settings of `send`.
#[derive(Debug, Clone, Args)]
pub struct Send {
    /// The call.
    pub method: SendMethod,
    /// A catalog item id and a quantity, as ITEM or ITEM:QUANTITY. Repeatable.
    #[arg(long = "item", required = true, value_parser = item)]
    pub items: Vec<(String, i64)>,
    /// The options of every item, as a JSON object.
    #[arg(long, value_parser = options)]
    pub options: Option<Options>,
    /// The location of every item, a GUID.
    #[arg(long)]
    pub location_id: Option<String>,
    /// The order, a GUID; a new one unless given.
    #[arg(long)]
    pub order_id: Option<String>,
    /// Wix's id of the request; a new one unless given. The same id again is a replay.
    #[arg(long)]
    pub request_id: Option<String>,
    /// The reason, by Wix's name, such as ORDER_PAID.
    #[arg(long)]
    pub reason: Option<String>,
    /// Allow levels below zero (`restrictInventoryValue: false`).
    #[arg(long)]
    pub unrestricted: bool,
    /// The app's installation: the site.
    #[arg(long, default_value = demo::SITE_ID)]
    pub instance_id: String,
    /// The app that the token is for.
    #[arg(long, default_value = demo::APP_ID)]
    pub app_id: String,
    /// The catalog's app id, of every item.
    #[arg(long, default_value = demo::CATALOG_APP_ID)]
    pub catalog_app_id: String,
    /// The private key that signs the token, a PEM file.
    #[arg(long, default_value = demo::KEY_FILE)]
    pub key_file: PathBuf,
    /// The URL of the adapter.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub url: Uri,
}

/// The two calls.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SendMethod {
    /// Takes stock away.
    Decrement,
    /// Gives stock back.
    Increment,
}

/// The options of an item.
#[derive(Clone, Debug)]
pub struct Options(Box<RawValue>);

/// An answer, with the ids that were sent.
#[derive(Debug)]
pub struct Sent {
    /// The order id of the request.
    pub order_id: String,
    /// Wix's id of the request.
    pub request_id: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The body of the answer.
    pub body: String,
}

/// The adapter does not answer.
#[derive(Debug, thiserror::Error)]
#[error("no adapter answers at {url}; start one, or name another with --url")]
pub struct NoAnswer {
    url: String,
    source: hyper_util::client::legacy::Error,
}

impl Send {
    /// A decrement of one piece in the demo's catalog, as `send decrement --item ITEM` makes it.
    pub fn demo(item: &str, url: Uri) -> Self {
        Self {
            method: SendMethod::Decrement,
            items: vec![(item.to_owned(), 1)],
            options: None,
            location_id: None,
            order_id: None,
            request_id: None,
            reason: None,
            unrestricted: false,
            instance_id: demo::SITE_ID.to_owned(),
            app_id: demo::APP_ID.to_owned(),
            catalog_app_id: demo::CATALOG_APP_ID.to_owned(),
            key_file: demo::KEY_FILE.into(),
            url,
        }
    }

    /// Signs the request, sends it, and returns the answer.
    pub async fn run(&self) -> Result<Sent, Box<dyn Error>> {
        let key = signing::read_private(&self.key_file)?;
        let order_id = self.order_id.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
        let request_id = self.request_id.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
        let token = self.token(&key, &order_id, &request_id)?;
        let method = match self.method {
            SendMethod::Decrement => Method::Decrement,
            SendMethod::Increment => Method::Increment,
        };
        let url = format!("{}/v1/{}", self.url.to_string().trim_end_matches('/'), method.name());
        let request = Request::post(&url).header("content-type", "text/plain").body(Full::new(Bytes::from(token)))?;
        let answer = Client::builder(TokioExecutor::new()).build_http().request(request).await;
        let answer = answer.map_err(|source| NoAnswer { url, source })?;
        let status = answer.status().as_u16();
        let body = String::from_utf8_lossy(&answer.into_body().collect().await?.to_bytes()).into_owned();
        Ok(Sent { order_id, request_id, status, body })
    }

    fn token(&self, key: &EncodingKey, order_id: &str, request_id: &str) -> Result<String, Box<dyn Error>> {
        let items = self.items.iter().map(|(id, quantity)| wire::Item {
            catalog_reference: Some(wire::CatalogReference {
                catalog_item_id: id.as_str().into(),
                app_id: self.catalog_app_id.as_str().into(),
                options: self.options.as_ref().map(|options| &*options.0),
            }),
            location_id: self.location_id.as_deref().unwrap_or_default().into(),
            quantity: *quantity,
            subscription_item: false,
        });
        let (restrict, reason) = match self.method {
            SendMethod::Decrement => (Some(!self.unrestricted), "ORDER_PLACED"),
            SendMethod::Increment => (None, "ORDER_CANCELED"),
        };
        let reason = to_raw_value(self.reason.as_deref().unwrap_or(reason))?;
        let data = wire::Data {
            request: Some(wire::AvailabilityRequest {
                items: items.collect(),
                restrict_inventory_value: restrict,
                order_id: order_id.into(),
                reason: Some(&reason),
            }),
            metadata: Some(wire::Metadata {
                request_id: request_id.into(),
                instance_id: self.instance_id.as_str().into(),
                app_extension_type: "ECOM_INVENTORY".into(),
            }),
        };
        Ok(signing::sign(key, &self.app_id, &data)?)
    }
}

/// Runs `send` and prints the ids, the status and the body.
pub async fn send(settings: Send) -> Result<(), Box<dyn Error>> {
    let Sent { order_id, request_id, status, body } = settings.run().await?;
    println!("order {order_id} request {request_id}");
    println!("{status} {body}");
    Ok(())
}

fn item(text: &str) -> Result<(String, i64), String> {
    match text.rsplit_once(':') {
        None => Ok((text.to_owned(), 1)),
        Some((item, quantity)) => match quantity.parse() {
            Ok(quantity) => Ok((item.to_owned(), quantity)),
            Err(_) => Err("must be ITEM or ITEM:QUANTITY".into()),
        },
    }
}

fn options(text: &str) -> Result<Options, String> {
    let object = serde_json::from_str::<Map<String, Value>>(text).and_then(|object| to_raw_value(&object));
    object.map(Options).map_err(|_| "must be a JSON object".into())
}
