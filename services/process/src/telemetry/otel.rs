//! OpenTelemetry's environment variables: whether spans are exported, where to, and under which name.
//!
//! Owns the checks: an invalid value ends the program at its start, with the name of the variable. The SDK and the exporter read
//! most variables themselves, but they ignore invalid values, so only what passes here reaches them. Sources: [SDK], [exporter].
//!
//! [SDK]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
//! [exporter]: https://opentelemetry.io/docs/specs/otel/protocol/exporter/

use std::{path::PathBuf, time::Duration};

use outside_text::printable;

/// The collector of all signals.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// The collector of traces; it wins over [`ENDPOINT`].
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const DISABLED: &str = "OTEL_SDK_DISABLED";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
const QUEUE: &str = "OTEL_BSP_MAX_QUEUE_SIZE";
const BATCH: &str = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";

const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// Settings of the exporter that exist for traces and for all signals, as the part after `OTEL_EXPORTER_OTLP_`.
const PROTOCOL: &str = "PROTOCOL";
const HEADERS: &str = "HEADERS";
const TIMEOUT: &str = "TIMEOUT";
const COMPRESSION: &str = "COMPRESSION";
const INSECURE: &str = "INSECURE";
const CERTIFICATE: &str = "CERTIFICATE";
const CLIENT_CERTIFICATE: &str = "CLIENT_CERTIFICATE";
const CLIENT_KEY: &str = "CLIENT_KEY";

/// Variables of the SDK that take a whole number, and the largest one. The queue's bound is memory.
const NUMBERS: [(&str, u64); 7] = [
    ("OTEL_BSP_SCHEDULE_DELAY", 600_000),
    ("OTEL_BSP_EXPORT_TIMEOUT", 600_000),
    (QUEUE, 65_536),
    (BATCH, 65_536),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", 1_000),
    ("OTEL_SPAN_EVENT_COUNT_LIMIT", 1_000),
    ("OTEL_SPAN_LINK_COUNT_LIMIT", 1_000),
];

/// The SDK's defaults of [`QUEUE`] and [`BATCH`].
const QUEUE_DEFAULT: u64 = 2_048;
const BATCH_DEFAULT: u64 = 512;
/// The longest that one export may take.
const LONGEST_TIMEOUT: Duration = Duration::from_mins(1);
/// The most bytes of a text for people, such as the service's name.
const LONGEST_NAME: usize = 255;

/// An invalid value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {problem}")]
pub struct InvalidVariable {
    variable: String,
    problem: String,
}

/// Where spans are exported to, and under which name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Export {
    /// The collector's URL.
    pub(super) endpoint: String,
    /// The variable that named it.
    pub(super) named_by: &'static str,
    /// The operator's name for this service; without one it has the program's.
    pub(super) service_name: Option<String>,
    /// Files in PEM for an https collector.
    pub(super) files: TlsFiles,
    /// Values of headers, which are credentials.
    pub(super) secrets: Vec<String>,
}

/// Files for an https collector.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TlsFiles {
    /// Authorities that are trusted instead of the public ones, and the variable that named the file.
    pub(super) authority: Option<(String, PathBuf)>,
    /// This client's certificate and key, and the variables that named them.
    pub(super) identity: Option<[(String, PathBuf); 2]>,
}

/// Reads variables from the process or, in tests, from a table.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Checks all variables. `None`: no span leaves the process.
///
/// # Errors
/// The first invalid one. Variables of the exporter are not checked when nothing is exported.
pub(super) fn read(lookup: Lookup<'_>) -> Result<Option<Export>, InvalidVariable> {
    let variables = Variables(lookup);
    if variables.boolean(DISABLED)? {
        return Ok(None);
    }
    match variables.get(EXPORTER).as_deref().map(str::trim) {
        None | Some("otlp") => {}
        Some("none") => return Ok(None),
        Some(other) => {
            return Err(invalid(EXPORTER, format!("it takes otlp or none, not {:?}", printable(other))));
        }
    }
    let Some((named_by, endpoint)) = variables.first(&[TRACES_ENDPOINT, ENDPOINT]) else { return Ok(None) };
    variables.check_sampler()?;
    variables.check_numbers()?;
    variables.check_transport()?;
    let endpoint = variables.endpoint(named_by, &endpoint)?;
    let is_https = endpoint.starts_with("https://");
    Ok(Some(Export {
        files: if is_https { variables.files()? } else { TlsFiles::default() },
        secrets: variables.header_values()?,
        service_name: variables.service_name()?,
        endpoint,
        named_by,
    }))
}

struct Variables<'a>(Lookup<'a>);

fn invalid(variable: impl Into<String>, problem: impl Into<String>) -> InvalidVariable {
    InvalidVariable { variable: variable.into(), problem: problem.into() }
}

impl Variables<'_> {
    /// Returns a variable that is set. An empty one counts as not set.
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|text| !text.trim().is_empty())
    }

    fn first(&self, names: &[&'static str]) -> Option<(&'static str, String)> {
        names.iter().find_map(|&name| Some((name, self.get(name)?)))
    }

    /// Returns a setting of the exporter and the name of its variable: the one for traces, or else the one for all signals.
    fn exporter(&self, setting: &str) -> Option<(String, String)> {
        [format!("OTEL_EXPORTER_OTLP_TRACES_{setting}"), format!("OTEL_EXPORTER_OTLP_{setting}")]
            .into_iter()
            .find_map(|name| self.get(&name).map(|text| (name, text)))
    }

    fn boolean(&self, name: &str) -> Result<bool, InvalidVariable> {
        self.get(name).map_or(Ok(false), |text| boolean(name, &text))
    }

    fn check_sampler(&self) -> Result<(), InvalidVariable> {
        let sampler = self.get(SAMPLER);
        if let Some(name) = &sampler
            && !SAMPLERS.contains(&name.as_str())
        {
            return Err(invalid(SAMPLER, format!("it takes one of {}", SAMPLERS.join(", "))));
        }
        let takes_ratio = sampler.is_some_and(|name| name.ends_with("traceidratio"));
        match self.get(SAMPLER_ARG).map(|text| text.parse::<f64>()) {
            _ if !takes_ratio => Ok(()),
            Some(Ok(ratio)) if (0.0..=1.0).contains(&ratio) => Ok(()),
            _ => Err(invalid(SAMPLER_ARG, "this sampler needs a ratio from 0 to 1, such as 0.1")),
        }
    }

    fn check_numbers(&self) -> Result<(), InvalidVariable> {
        for (name, most) in NUMBERS {
            self.number(name, most)?;
        }
        let queue = self.number(QUEUE, u64::MAX)?.unwrap_or(QUEUE_DEFAULT);
        let batch = self.number(BATCH, u64::MAX)?.unwrap_or(BATCH_DEFAULT.min(queue));
        if batch > queue {
            return Err(invalid(BATCH, format!("it is larger than the queue ({QUEUE}, {queue})")));
        }
        Ok(())
    }

    fn number(&self, name: &str, most: u64) -> Result<Option<u64>, InvalidVariable> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse::<u64>() {
            Ok(number @ 1..) if number <= most => Ok(Some(number)),
            _ => Err(invalid(name, format!("it takes a whole number from 1 to {most}"))),
        }
    }

    fn check_transport(&self) -> Result<(), InvalidVariable> {
        if let Some((name, protocol)) = self.exporter(PROTOCOL)
            && protocol != "grpc"
        {
            return Err(invalid(
                name,
                "this program exports by gRPC only: remove it, or set grpc (the collector's gRPC port is usually 4317)",
            ));
        }
        if let Some((name, compression)) = self.exporter(COMPRESSION)
            && compression != "none"
        {
            return Err(invalid(name, "this program does not compress exports: remove it, or set none"));
        }
        if let Some((name, _)) = self.exporter(TIMEOUT) {
            self.number(&name, LONGEST_TIMEOUT.as_millis() as u64)?;
        }
        Ok(())
    }

    /// Returns the collector as a URL: without a scheme it is https, unless `INSECURE` says otherwise.
    fn endpoint(&self, named_by: &str, text: &str) -> Result<String, InvalidVariable> {
        let insecure = match self.exporter(INSECURE) {
            Some((name, text)) => boolean(&name, &text)?,
            None => false,
        };
        let text = text.trim();
        let url = match text.contains("://") {
            true => text.to_owned(),
            false if insecure => format!("http://{text}"),
            false => format!("https://{text}"),
        };
        let example = "it takes the collector's URL, such as http://127.0.0.1:4317";
        let parsed =
            url::Url::parse(&url).map_err(|error| invalid(named_by, format!("{example}: {error}")))?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none_or(str::is_empty) {
            return Err(invalid(named_by, example));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(invalid(
                named_by,
                "the URL must not contain credentials: put them into OTEL_EXPORTER_OTLP_HEADERS",
            ));
        }
        Ok(url)
    }

    fn header_values(&self) -> Result<Vec<String>, InvalidVariable> {
        let Some((name, text)) = self.exporter(HEADERS) else { return Ok(Vec::new()) };
        let mut values = Vec::new();
        for header in text.split_terminator(',').map(str::trim) {
            // The text is not shown: it is a credential.
            let Some((key, value)) = header.split_once('=') else {
                return Err(invalid(name, "it takes name=value, several with commas between"));
            };
            let value = value.trim();
            if http::HeaderName::try_from(key.trim()).is_err() || http::HeaderValue::try_from(value).is_err()
            {
                return Err(invalid(name, "a header has an invalid name or value"));
            }
            values.push(value.to_owned());
        }
        Ok(values)
    }

    fn files(&self) -> Result<TlsFiles, InvalidVariable> {
        let file = |setting| self.exporter(setting).map(|(name, path)| (name, PathBuf::from(path)));
        let identity = match (file(CLIENT_CERTIFICATE), file(CLIENT_KEY)) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some([certificate, key]),
            (Some((name, _)), None) => {
                return Err(invalid(name, "it also needs the key (OTEL_EXPORTER_OTLP_CLIENT_KEY)"));
            }
            (None, Some((name, _))) => {
                return Err(invalid(
                    name,
                    "it also needs the certificate (OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE)",
                ));
            }
        };
        Ok(TlsFiles { authority: file(CERTIFICATE), identity })
    }

    fn service_name(&self) -> Result<Option<String>, InvalidVariable> {
        let attributes = self.get(RESOURCE_ATTRIBUTES).unwrap_or_default();
        for attribute in attributes.split_terminator(',') {
            if attribute.split_once('=').is_none_or(|(key, _)| key.trim().is_empty()) {
                return Err(invalid(RESOURCE_ATTRIBUTES, "it takes key=value, several with commas between"));
            }
        }
        let name = self.get(SERVICE_NAME);
        if name.as_ref().is_some_and(|name| name.len() > LONGEST_NAME) {
            return Err(invalid(SERVICE_NAME, format!("it takes at most {LONGEST_NAME} bytes")));
        }
        Ok(name)
    }
}

fn boolean(name: &str, text: &str) -> Result<bool, InvalidVariable> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid(name, "it takes true or false")),
    }
}

#[cfg(test)]
mod tests;
