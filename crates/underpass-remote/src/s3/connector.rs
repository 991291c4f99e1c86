//! The requests of `object_store` for credentials, made by our client.
//!
//! Its futures wait in the call: who polls them is a thread that may.

use std::future::{Future, ready};
use std::io::{self, Read};
use std::pin::Pin;
use std::time::Duration;

use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use underpass::Source;
use underpass_client::{
    Ask, Client, ClientError, Condition, Field, Interrupt, Method, Response, Timeouts, Url,
};

/// A machine without such a service has nothing that would answer at its address.
const TIMEOUTS: Timeouts =
    Timeouts { idle: Some(Duration::from_secs(5)), connect: Some(Duration::from_secs(2)) };

/// Credentials are a few hundred bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Makes such clients.
#[derive(Debug)]
pub(crate) struct Connector(pub(crate) Client);

#[derive(Debug)]
struct Service {
    client: Client,
    interrupt: Interrupt,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let interrupt = Interrupt::never().map_err(|error| object_store::Error::Generic {
            store: "S3",
            source: Box::new(error),
        })?;
        let interrupt = interrupt.with(TIMEOUTS);
        Ok(HttpClient::new(Service { client: self.0.clone(), interrupt }))
    }
}

impl HttpService for Service {
    fn call<'s, 'f>(
        &'s self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(ready(self.exchange(&request)))
    }
}

impl Service {
    fn exchange(&self, request: &HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.send(request)?;
        let mut answer = http::Response::builder().status(response.status);
        for (name, value) in response.head.fields() {
            answer = answer.header(name, value);
        }
        let mut content = Vec::new();
        let read = response.body.take(ANSWER_BYTES_MAX).read_to_end(&mut content);
        read.map_err(|error| HttpError::new(kind_of(&error), error))?;
        answer.body(content.into()).map_err(|error| HttpError::new(HttpErrorKind::Decode, error))
    }

    fn send(&self, request: &HttpRequest) -> Result<Response<'_>, HttpError> {
        let unknown = |why: String| HttpError::new(HttpErrorKind::Unknown, io::Error::other(why));
        let url = request.uri().to_string();
        let url = Url::parse(&url).map_err(|why| unknown(format!("{url}: {why}")))?;
        let mut fields = Vec::new();
        for (name, value) in request.headers() {
            // The client counts the bytes itself.
            if name != http::header::CONTENT_LENGTH {
                let value = value.to_str().map_err(|error| unknown(error.to_string()))?;
                let field: Result<Field, _> = format!("{name}: {value}").parse();
                fields.push(field.map_err(|error| unknown(format!("{name}: {error}")))?);
            }
        }
        let ask = |method| {
            let ask = Ask { fields: &fields, ..Ask::new(method, &url) };
            self.client.ask(&ask, &self.interrupt)
        };
        let content = request.body().as_bytes().cloned();
        let answer = match (request.method().as_str(), content) {
            ("GET", _) => ask(Method::Get),
            ("HEAD", _) => ask(Method::Head),
            ("POST", Some(content)) if content.is_empty() => ask(Method::Post),
            ("PUT", Some(content)) => {
                let content = Source::bytes(content);
                self.client.put(&url, content, Condition::Always, &fields, &self.interrupt)
            }
            (method, _) => return Err(unknown(format!("{method} {url} is not made here"))),
        };
        answer.map_err(|error| HttpError::new(kind_of_answer(&error), error))
    }
}

/// A request that may have arrived did not fail to connect: after that it would be sent again,
/// whatever it changes.
fn kind_of_answer(error: &ClientError) -> HttpErrorKind {
    match error {
        ClientError::Open { source, .. } if source.kind() == io::ErrorKind::TimedOut => {
            HttpErrorKind::Timeout
        }
        ClientError::Open { .. } if error.is_unsent() => HttpErrorKind::Connect,
        ClientError::Open { source, .. } => kind_of(source),
        ClientError::Protocol { .. }
        | ClientError::Status { .. }
        | ClientError::Redirect { .. }
        | ClientError::Range { .. }
        | ClientError::Beneath { .. } => HttpErrorKind::Unknown,
    }
}

fn kind_of(error: &io::Error) -> HttpErrorKind {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof};
    let kind = error.kind();
    if kind == TimedOut {
        HttpErrorKind::Timeout
    } else if [ConnectionAborted, ConnectionReset, BrokenPipe, UnexpectedEof].contains(&kind) {
        HttpErrorKind::Interrupted
    } else {
        HttpErrorKind::Unknown
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use underpass_testkit::scripted::Scripted;

    use super::*;
    use crate::s3::environment::Environment;
    use crate::s3::place::Place;
    use crate::s3::signer::Settings;

    fn ok(content: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{content}", content.len())
    }

    /// As whom a bucket is asked with these variables, and what was asked for that.
    fn asked(answers: &[String], variables: &[(&str, &str)]) -> (String, Vec<String>) {
        let server = Scripted::start(answers.iter().map(|answer| vec![answer])).unwrap();
        let here = format!("http://{}", server.address());
        let values: Vec<_> =
            variables.iter().map(|(name, value)| (*name, value.replace("HERE", &here))).collect();
        let values: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (place, mut client) = (Place::parse("s3://data").unwrap(), Client::default());
        client.fields = vec!["X-Secret: for the bucket".parse().unwrap()];
        let settings = Settings::of(&place, &Environment::of(&values), &client).unwrap();
        let known = settings.signer.unwrap().credential().unwrap();
        let lines = answers.iter().map(|_| server.asked().head);
        let lines = lines.inspect(|head| assert!(!head.contains("X-Secret"), "{head}"));
        let lines = lines.map(|head| head.split(" HTTP").next().unwrap_or_default().to_owned());
        (format!("{} {:?}", known.key_id, known.token), lines.collect())
    }

    #[test]
    fn credentials_of_a_container_of_a_role_and_of_a_machine_are_asked_for() {
        let json = ok(r#"{"AccessKeyId":"AK","SecretAccessKey":"S","Token":"T",
            "Expiration":"2099-01-01T00:00:00Z","Code":"Success"}"#);
        let xml = ok("<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult>\
            <Credentials><SessionToken>T</SessionToken><SecretAccessKey>S</SecretAccessKey>\
            <AccessKeyId>AK</AccessKeyId><Expiration>2099-01-01T00:00:00Z</Expiration>\
            </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "token").unwrap();
        let file = file.path().to_str().unwrap();
        let known = "AK Some(\"T\")".to_owned();
        let container = [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "HERE/of/container"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file),
        ];
        let lines = vec!["GET /of/container".to_owned()];
        assert_eq!(asked(std::slice::from_ref(&json), &container), (known.clone(), lines));
        let role = [
            ("AWS_WEB_IDENTITY_TOKEN_FILE", file),
            ("AWS_ROLE_ARN", "arn:r"),
            ("AWS_ENDPOINT_URL_STS", "HERE/sts"),
        ];
        let (key, lines) = asked(&[xml], &role);
        assert!(
            key == known && lines[0].starts_with("POST /sts?Action=AssumeRoleWith"),
            "{lines:?}"
        );
        let machine = [("AWS_METADATA_ENDPOINT", "HERE")];
        let lines = [
            "PUT /latest/api/token",
            "GET /latest/meta-data/iam/security-credentials/",
            "GET /latest/meta-data/iam/security-credentials/role",
        ];
        let answers = [ok("t"), ok("role"), json];
        assert_eq!(asked(&answers, &machine), (known, lines.map(str::to_owned).into()));
    }

    #[test]
    fn a_machine_without_credentials_says_how_to_give_them() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let closed = format!("http://{closed}");
        let environment = Environment::of(&[("AWS_METADATA_ENDPOINT", &closed)]);
        let (place, client) = (Place::parse("s3://data").unwrap(), Client::default());
        let signer = Settings::of(&place, &environment, &client).unwrap().signer.unwrap();
        let begun = Instant::now();
        let said = signer.credential().unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert!(said.starts_with("there are no credentials (") && said.contains(&closed), "{said}");
        assert!(said.contains("): set AWS_ACCESS_KEY_ID and ") && !said.contains('\n'), "{said}");
    }
}
