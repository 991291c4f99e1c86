//! As whom a bucket is asked: credentials, and the signature of each request.
//!
//! The signature is in fields and not in the URL, which thus names the object and nothing else, in
//! messages too. Each request is signed when it is sent, so none outlives its signature.
//!
//! Source: AWS Signature Version 4, "Authenticating Requests: Using the Authorization Header".

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use object_store::RetryConfig;
use object_store::aws::{
    AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer, AwsCredential, AwsCredentialProvider,
};
use object_store::client::{HttpRequest, HttpRequestBody};
use underpass_client::{Client, Field, Netrc};

use super::connector::Connector;
use super::environment::Environment;
use super::place::Place;
use super::profile::Profile;

/// Where a bucket is and as whom it is asked.
pub(crate) struct Settings {
    /// The URL of the bucket, without a slash at its end.
    pub(crate) base: String,
    pub(crate) region: String,
    /// None for a bucket that is asked without a name.
    pub(crate) signer: Option<Signer>,
}

/// Signs requests.
pub(crate) struct Signer {
    credentials: AwsCredentialProvider,
    region: String,
    pays: bool,
}

/// What is known of the content when a request is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// There is none.
    None,
    /// It is sent from where it is, and not read before.
    Unread,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("region", &self.region).finish_non_exhaustive()
    }
}

impl Settings {
    /// From the URL, the environment and AWS' files, in this order.
    ///
    /// # Errors
    ///
    /// What is wrong, for a message that names the bucket.
    pub(crate) fn of(
        place: &Place,
        environment: &Environment,
        client: &Client,
    ) -> Result<Self, String> {
        let mut builder = AmazonS3Builder::new();
        for (name, value) in environment.variables() {
            if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
                builder = builder.with_config(key, value);
            }
        }
        let is_unsigned = is_on(&builder, AmazonS3ConfigKey::SkipSignature)?;
        let has_keys = builder.get_config_value(&AmazonS3ConfigKey::AccessKeyId).is_some();
        let needs_keys = !is_unsigned && (!has_keys || place.profile.is_some());
        let profile = Profile::read(place.profile.as_deref(), needs_keys, environment)?;
        if needs_keys && let (Some(key_id), Some(secret)) = (&profile.key_id, &profile.secret) {
            builder = builder.with_access_key_id(key_id).with_secret_access_key(secret);
            builder = builder.with_config(
                AmazonS3ConfigKey::Token,
                profile.token.as_deref().unwrap_or_default(),
            );
        }
        let value = |key| builder.get_config_value(&key);
        let region = place.region.clone().or_else(|| value(AmazonS3ConfigKey::Region));
        let region = region.or(profile.region).unwrap_or_else(|| "us-east-1".to_owned());
        let endpoint = place.endpoint.clone().or_else(|| value(AmazonS3ConfigKey::S3Endpoint));
        let endpoint = endpoint.or_else(|| value(AmazonS3ConfigKey::Endpoint)).or(profile.endpoint);
        let is_virtual = is_on(&builder, AmazonS3ConfigKey::VirtualHostedStyleRequest)?;
        let base = base(&place.bucket, endpoint.as_deref(), &region, is_virtual)?;
        if base.starts_with("https:") || !environment.token_files().is_empty() {
            read_certificates(client)?;
        }
        let signer = if is_unsigned {
            None
        } else {
            Some(Signer::of(
                builder.with_region(&region).with_bucket_name("b"),
                region.clone(),
                client,
            )?)
        };
        Ok(Self { base, region, signer })
    }
}

impl Signer {
    fn of(builder: AmazonS3Builder, region: String, client: &Client) -> Result<Self, String> {
        let pays = is_on(&builder, AmazonS3ConfigKey::RequestPayer)?;
        let retry = RetryConfig {
            max_retries: 2,
            retry_timeout: Duration::from_secs(10),
            ..RetryConfig::default()
        };
        // What is meant for the bucket's server is told to no other.
        let mut client = client.clone();
        client.fields.clear();
        client.netrc = Netrc::default();
        let store = builder.with_http_connector(Connector(client)).with_retry(retry).build();
        let store = store.map_err(|error| one_line(&error))?;
        Ok(Self { credentials: Arc::clone(store.credentials()), region, pays })
    }

    /// The credentials as they are now. May wait for the service that gives them.
    ///
    /// # Errors
    ///
    /// That there are none, and why.
    pub(crate) fn credential(&self) -> Result<Arc<AwsCredential>, String> {
        // For the pauses between two tries; what is awaited is done by this thread.
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().build().map_err(|error| error.to_string())?;
        let known = runtime.block_on(self.credentials.get_credential());
        let known = known.map_err(|error| {
            format!(
                "there are no credentials ({}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
                 or AWS_PROFILE; AWS_SKIP_SIGNATURE=true for a bucket that everybody may read",
                one_line(&error)
            )
        })?;
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_plain(&known.key_id) && known.token.as_deref().is_none_or(is_plain) {
            return Ok(known);
        }
        Err("the access key or the session token has spaces or characters that none has; \
             set AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN anew"
            .to_owned())
    }

    /// The fields that sign a request.
    ///
    /// # Errors
    ///
    /// Those of [`Signer::credential`].
    pub(crate) fn fields(
        &self,
        method: http::Method,
        url: &str,
        content: Content,
    ) -> Result<Vec<Field>, String> {
        let credential = self.credential()?;
        let request = http::Request::builder().method(method).uri(url);
        let request = request.body(HttpRequestBody::empty());
        let mut request: HttpRequest = request.map_err(|error| error.to_string())?;
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .with_sign_payload(content == Content::None)
            .with_request_payer(self.pays)
            .try_authorize(&mut request, None)
            .map_err(|error| one_line(&error))?;
        let fields = request.headers().iter().map(|(name, value)| {
            let value = value.to_str().map_err(|error| error.to_string())?;
            format!("{name}: {value}").parse().map_err(|error| format!("{name}: {error}"))
        });
        fields.collect()
    }
}

/// Reads them while files can be read; a machine without any says so when they are needed.
fn read_certificates(client: &Client) -> Result<(), String> {
    match client.read_certificates() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("the certificates of those it trusts cannot be read: {error}"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn is_on(builder: &AmazonS3Builder, key: AmazonS3ConfigKey) -> Result<bool, String> {
    let text = builder.get_config_value(&key).unwrap_or_default().to_ascii_lowercase();
    match text.as_str() {
        "" | "0" | "false" | "no" | "off" => Ok(false),
        "1" | "true" | "yes" | "on" | "requester" => Ok(true),
        _ => Err(format!("{} is '{text}'; set it to true or false", key.as_ref().to_uppercase())),
    }
}

/// The URL of a bucket: at AWS it is in the host, elsewhere it is the first part of the path.
fn base(
    bucket: &str,
    endpoint: Option<&str>,
    region: &str,
    is_virtual: bool,
) -> Result<String, String> {
    let Some(endpoint) = endpoint else {
        let zone = if region.starts_with("cn-") { ".cn" } else { "" };
        let host = format!("s3.{region}.amazonaws.com{zone}");
        // A certificate of *.s3… is for one label more.
        let is_label = !bucket.contains(['.', '_']);
        let base = if is_label { format!("{bucket}.{host}") } else { format!("{host}/{bucket}") };
        return checked(&format!("https://{base}"))
            .map_err(|why| format!("there is no region '{region}' ({why})"));
    };
    let of_endpoint = |why: String| format!("the endpoint '{endpoint}' is not a URL: {why}");
    let endpoint = checked(endpoint).map_err(of_endpoint)?;
    Ok(if is_virtual { endpoint } else { format!("{endpoint}/{bucket}") })
}

/// An `http` or `https` URL without a query, its host in lower case: as the signature has it.
fn checked(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("its scheme is neither http nor https".to_owned());
    }
    if !url.username().is_empty() || url.query().is_some() || url.fragment().is_some() {
        return Err("give the server, and no user or query".to_owned());
    }
    underpass_client::Url::parse(url.as_str())?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// An error with its causes, which come from libraries and may have several lines.
fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str, variables: &[(&str, &str)]) -> Result<Settings, String> {
        let place = Place::parse(url).unwrap();
        let environment = Environment::of(variables);
        Settings::of(&place, &environment, &Client::default())
    }

    const KEYS: [(&str, &str); 2] =
        [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret")];

    fn base_of(url: &str, more: &[(&str, &str)]) -> String {
        settings(url, &[&KEYS[..], more].concat()).unwrap().base
    }

    #[test]
    fn where_a_bucket_is() {
        let (url, s3) = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3");
        for (text, variables, base) in [
            ("s3://data", &[][..], "https://data.s3.us-east-1.amazonaws.com"),
            ("s3://da.ta", &[], "https://s3.us-east-1.amazonaws.com/da.ta"),
            ("s3://data?region=cn-north-1", &[], "https://data.s3.cn-north-1.amazonaws.com.cn"),
            ("s3://data", &[("AWS_REGION", "x-1")], "https://data.s3.x-1.amazonaws.com"),
            ("s3://data", &[("AWS_DEFAULT_REGION", "x-1")], "https://data.s3.x-1.amazonaws.com"),
            ("s3://data", &[(url, "http://A:80/")], "http://a/data"),
            ("s3://data", &[(url, "http://a"), (s3, "https://b/s3/")], "https://b/s3/data"),
            ("s3://data?endpoint=http://[::1]:1", &[(url, "http://a")], "http://[::1]:1/data"),
            (
                "s3://data",
                &[(url, "http://data.a"), ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")],
                "http://data.a",
            ),
        ] {
            assert_eq!(base_of(text, variables), base, "{text} {variables:?}");
        }
    }

    #[test]
    fn settings_that_are_none_are_said_with_the_place_they_come_from() {
        for (url, variables, said) in [
            ("s3://data?endpoint=a:1", &KEYS[..], "the endpoint 'a:1' is not a URL: "),
            ("s3://data?endpoint=ftp://a", &KEYS, "the endpoint 'ftp://a' is not a URL: its sch"),
            ("s3://data?endpoint=http://u:p@a", &KEYS, "the endpoint 'http://u:p@a' is not a"),
            // object_store would panic when it signs for this host.
            ("s3://data?endpoint=http://1.2.3.4.5", &KEYS, "the endpoint 'http://1.2.3.4.5' is"),
            ("s3://data?region=a b", &KEYS, "there is no region 'a b' ("),
            ("s3://data", &[KEYS[0]], "Missing SecretAccessKey"),
            ("s3://data", &[("AWS_SKIP_SIGNATURE", "perhaps")], "AWS_SKIP_SIGNATURE is 'perhaps'"),
        ] {
            let error = settings(url, variables).err().unwrap();
            assert!(error.contains(said), "{url} {variables:?}: {error}");
        }
    }

    #[test]
    fn certificates_are_read_before_the_first_request_if_one_may_need_them() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "no certificate").unwrap();
        let said = |url: &str, variables: &[(&str, &str)]| {
            let mut client = Client::default();
            client.trust = underpass_client::Trust::File(file.path().to_owned());
            let environment = Environment::of(&[&KEYS[..], variables].concat());
            Settings::of(&Place::parse(url).unwrap(), &environment, &client).err()
        };
        assert_eq!(said("s3://data?endpoint=http://h", &[]), None);
        let of_role = ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token");
        for (url, variables) in
            [("s3://data", &[][..]), ("s3://data?endpoint=http://h", &[of_role])]
        {
            let said = said(url, variables).unwrap();
            assert!(said.starts_with("the certificates of those it trusts"), "{said}");
        }
    }

    #[test]
    fn a_key_of_several_lines_is_an_error_and_no_panic() {
        for (name, value) in [("AWS_ACCESS_KEY_ID", "a\nb"), ("AWS_SESSION_TOKEN", "é\r\nX: y")] {
            let variables = [&KEYS[1..], &[("AWS_ACCESS_KEY_ID", "a"), (name, value)]].concat();
            let signer = settings("s3://data", &variables).unwrap().signer.unwrap();
            let error = signer.fields(http::Method::GET, "https://a/b", Content::None).unwrap_err();
            assert!(error.starts_with("the access key or the session token has spaces"), "{error}");
        }
    }

    #[test]
    fn a_signature_is_in_fields_and_a_bucket_for_everybody_has_none() {
        let keys = [&KEYS[..], &[("AWS_SESSION_TOKEN", "t/+=")]].concat();
        let signer = settings("s3://data?region=r-1", &keys).unwrap().signer.unwrap();
        let fields = signer.fields(http::Method::PUT, "https://a:8/b", Content::Unread).unwrap();
        let text = format!("{fields:?}");
        for part in [
            "\"x-amz-security-token\", value: \"t/+=\"",
            "\"x-amz-content-sha256\", value: \"UNSIGNED-PAYLOAD\"",
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/",
            "/r-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-sec",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!format!("{signer:?}").contains("secret"));
        let anybody = settings("s3://data", &[("AWS_SKIP_SIGNATURE", "true")]).unwrap();
        assert!(anybody.signer.is_none());
    }
}
