//! Writes files in one step each, so that a reader sees the old content or the new one.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::files::NewFile;

/// Writes all files into the folder. Without `force` a file that exists by now stops it; those written before are in the error.
pub(super) fn write_all(folder: &Path, files: &[NewFile], force: bool) -> Result<Vec<PathBuf>, String> {
    let cannot = |path: &Path, error: io::Error| format!("cannot write {}: {error}", path.display());
    fs::create_dir_all(folder).map_err(|error| cannot(folder, error))?;
    let mut written: Vec<PathBuf> = Vec::new();
    for file in files {
        let path = folder.join(file.name);
        match write(&path, file, force) {
            Ok(()) => written.push(path),
            Err(error) => {
                let before: Vec<_> = written.iter().map(|path| path.display().to_string()).collect();
                let before = if before.is_empty() {
                    "nothing was written".to_owned()
                } else {
                    format!("written: {}", before.join(", "))
                };
                return Err(format!("{}; {before}", cannot(&path, error)));
            }
        }
    }
    Ok(written)
}

fn write(path: &Path, file: &NewFile, force: bool) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let next = PathBuf::from(name);
    let mode = if file.is_secret { 0o600 } else { 0o644 };
    let mut opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(&next)?;
    let placed = opened
        .write_all(file.content.as_bytes())
        .and_then(|()| opened.sync_all())
        .and_then(|()| place(&next, path, force));
    match fs::remove_file(&next) {
        Err(error) if error.kind() != ErrorKind::NotFound => placed.and(Err(error)),
        _ => placed,
    }
}

/// A link fails if the name exists; a rename replaces what has it.
fn place(next: &Path, path: &Path, force: bool) -> io::Result<()> {
    if force { fs::rename(next, path) } else { fs::hard_link(next, path) }
}
