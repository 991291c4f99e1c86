//! What may be put into a site.

use anyhow::ensure;
use clap::Args;
use underpass_serve::pattern::Pattern;
use underpass_serve::upload::Upload;

use crate::values::size;

/// The flags about uploads.
#[derive(Debug, Args)]
#[command(next_help_heading = "Upload")]
pub(crate) struct UploadArguments {
    /// Take files by PUT at the paths of this pattern, which is one of --header; may be repeated.
    ///
    /// '**' is for all. As 'curl -T FILE -u NAME http://HOST/in/' sends them, or the form that
    /// listings have then. A file has its name once all of it is on the disk, and directories must
    /// be there. An upload that was cut may be continued. Everyone who has a password of --auth
    /// may, whatever --auth-path says. What is uploaded is served, pages with scripts too.
    #[arg(long, value_name = "PATTERN")]
    upload: Vec<Pattern>,

    /// The most bytes of a file.
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "1GiB",
        value_parser = size,
        requires = "upload"
    )]
    upload_max_size: u64,

    /// Let an upload take the place of a file that is there, whose mode it gets.
    ///
    /// Without it that is a 409.
    #[arg(long, requires = "upload")]
    upload_replace: bool,

    /// Take uploads from everyone who reaches the server.
    #[arg(long, requires = "upload")]
    upload_without_auth: bool,
}

impl UploadArguments {
    /// What was asked for, if anything was.
    ///
    /// # Errors
    ///
    /// That everyone could write, and no one has said that this is meant.
    pub(super) fn upload(&self, has_access: bool) -> anyhow::Result<Option<Upload>> {
        let Self { upload, upload_max_size, upload_replace, upload_without_auth } = self;
        if upload.is_empty() {
            return Ok(None);
        }
        ensure!(
            has_access || *upload_without_auth,
            "with --upload alone everyone could write: give --auth or --auth-file, or \
             --upload-without-auth if that is meant"
        );
        Ok(Some(Upload::new(upload.clone(), *upload_max_size, *upload_replace)))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::args::{Arguments, Command};

    fn upload(words: &[&str], has_access: bool) -> Result<bool, String> {
        let words = [&["underpass", "serve"], words].concat();
        let parsed = Arguments::try_parse_from(words).map_err(|error| error.to_string())?;
        let Command::Serve(wanted) = parsed.command else { panic!("the command is serve") };
        let upload = wanted.0.site.upload(has_access).map_err(|error| error.to_string());
        upload.map(|upload| upload.is_some())
    }

    #[test]
    fn that_everyone_may_write_is_asked_for_by_name() {
        assert_eq!(upload(&[], false), Ok(false));
        assert_eq!(upload(&["--upload=**"], true), Ok(true));
        assert_eq!(
            upload(&["--upload=a", "--upload=b/**", "--upload-without-auth"], false),
            Ok(true)
        );
        let error = upload(&["--upload=**"], false).unwrap_err();
        assert!(error.contains("--upload-without-auth"), "{error}");
        for words in [
            &["--upload-replace"][..],
            &["--upload-without-auth"],
            &["--upload-max-size=1"],
            &["--upload=["],
            &["--upload=a", "--upload-max-size=0"],
        ] {
            assert!(upload(words, true).is_err(), "{words:?}");
        }
    }
}
