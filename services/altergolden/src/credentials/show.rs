//! `credentials show`: what a file has.

use std::{fs, path::Path};

use x509_parser::extensions::GeneralName;

use crate::exit::{CommandOutcome, print_line};

pub(super) fn run(file: &Path) -> CommandOutcome {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) => {
            return CommandOutcome::wrong_setting(format!("cannot read {}: {error}", file.display()));
        }
    };
    let blocks = pem::parse_many(text).unwrap_or_default();
    let mut certificates = blocks.iter().filter(|block| block.tag() == "CERTIFICATE").peekable();
    if certificates.peek().is_none() {
        return CommandOutcome::wrong_setting(format!("{} has no certificate (PEM)", file.display()));
    }
    for block in certificates {
        let Ok((_, certificate)) = x509_parser::parse_x509_certificate(block.contents()) else {
            return CommandOutcome::wrong_setting(format!("{} has a malformed certificate", file.display()));
        };
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map(|names| names.value.general_names.iter()).into_iter().flatten();
        print_line(certificate.subject());
        for name in names {
            match name {
                GeneralName::URI(name) | GeneralName::DNSName(name) => {
                    print_line(format_args!("  name     {name}"));
                }
                _ => {}
            }
        }
        print_line(format_args!("  serial   {}", certificate.raw_serial_as_string()));
        print_line(format_args!("  expires  {}", certificate.validity().not_after));
    }
    CommandOutcome::success()
}
