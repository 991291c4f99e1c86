//! A listing as a page: one document without anything to load, which works without its script.
//!
//! The policy names the script and the style by their hashes, so that nothing which got into the
//! page by another way is run. Names are in it as text and as percent-encoded references only.
//!
//! Source: W3C CSP Level 3; WAI-ARIA 1.2, `aria-sort`; HTML, "The search input".

use std::sync::OnceLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use ring::digest::{SHA256, digest};

use super::look::Look;
use super::query::Sort;
use super::read::Name;
use super::{Listing, ROWS_MAX};
use crate::media_type::MediaTypes;
use crate::number::{Count, Size};
use crate::{date, target};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
const UPLOAD_SCRIPT: &str = concat!(include_str!("script.js"), include_str!("upload.js"));

/// The pictures next to names, drawn by reference.
const ICONS: &str = include_str!("icons.svg");

/// What a page with this script may do: run it, have its style, show and read what is on this
/// server, and send it forms.
fn policy_with(script: &str) -> HeaderValue {
    let hash = |text: &str| BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes()));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src 'self'; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        hash(script),
        hash(STYLE)
    );
    HeaderValue::try_from(policy).expect("words and base64 are visible ASCII")
}

impl Listing<'_> {
    pub(super) fn policy(&self) -> HeaderValue {
        static POLICIES: [OnceLock<HeaderValue>; 2] = [const { OnceLock::new() }; 2];
        let made = &POLICIES[usize::from(self.takes_uploads)];
        made.get_or_init(|| policy_with(self.script())).clone()
    }

    const fn script(&self) -> &'static str {
        if self.takes_uploads { UPLOAD_SCRIPT } else { SCRIPT }
    }

    pub(super) fn page(&self) -> Markup {
        let title = format!("Index of /{}", String::from_utf8_lossy(self.path));
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    (PreEscaped(ICONS))
                    header {
                        (self.heading())
                        (self.filter())
                        p #status role="status" { (self.status()) }
                    }
                    main {
                        @if self.takes_uploads { (upload()) }
                        (self.table()) (self.pager())
                    }
                    (self.footer())
                    (preview())
                    script { (PreEscaped(self.script())) }
                }
            }
        }
    }

    /// The path, of which each directory is a reference to it.
    fn heading(&self) -> Markup {
        let segments: Vec<_> = self.path.split(|&byte| byte == b'/').collect();
        // What is after the last slash is empty.
        let (_, segments) = segments.split_last().expect("a split gives one part at least");
        html! {
            h1 {
                span.unseen { "Index of " }
                a href=[(!segments.is_empty()).then(|| "../".repeat(segments.len()))] title="Top" {
                    (icon("home")) span.unseen { "/" }
                }
                @if segments.is_empty() { span.slash aria-hidden="true" { "/" } }
                @for (at, segment) in segments.iter().enumerate() {
                    @let above = segments.len() - 1 - at;
                    span.slash aria-hidden="true" { "/" }
                    @let name = html! { bdi { (String::from_utf8_lossy(segment)) } };
                    @if above == 0 { span { (name) } }
                    @else { a href=("../".repeat(above)) { (name) } }
                }
            }
        }
    }

    fn filter(&self) -> Markup {
        let query = self.query;
        html! {
            form #filter method="get" role="search" {
                (self.order_fields())
                label.unseen for="q" { "Filter names" }
                input #q type="search" name="q" value=(query.filter) placeholder="Filter"
                    autocomplete="off" autocapitalize="off" spellcheck="false"
                    aria-keyshortcuts="/";
                button { "Filter" }
            }
        }
    }

    /// What keeps the order in a form.
    fn order_fields(&self) -> Markup {
        html! {
            @if self.query.sort != Sort::Name {
                input type="hidden" name="sort" value=(self.query.sort.word());
            }
            @if self.query.is_descending { input type="hidden" name="order" value="desc"; }
        }
    }

    fn status(&self) -> Markup {
        let (directories, files) = (self.directories, self.files);
        html! {
            @if directories > 0 {
                (Count(directories)) @if directories == 1 { " folder" } @else { " folders" }
            }
            @if directories > 0 && files > 0 { ", " }
            @if files > 0 || directories == 0 {
                (Count(files)) @if files == 1 { " file" } @else { " files" }
            }
            @if !self.query.filter.is_empty() { " with “" bdi { (self.query.filter) } "”" }
            @if self.pages() > 1 {
                ", page " (Count(self.query.page)) " of " (Count(self.pages()))
            }
            @if self.is_cut { ". There are more than are listed." }
        }
    }

    fn table(&self) -> Markup {
        html! {
            table #list {
                caption.unseen { "Folders come first. Dates are in UTC." }
                thead { tr { @for sort in Sort::ALL { (self.column(sort)) } } }
                tbody {
                    @if !self.path.is_empty() {
                        tr.up { td {
                            a href="../" { (icon("up")) "../" }
                        } td {} td {} }
                    }
                    @for row in &self.rows { (row.row(self.media_types)) }
                    @if self.total() == 0 { tr.none { td colspan="3" { (self.nothing()) } } }
                }
            }
        }
    }

    fn nothing(&self) -> Markup {
        html! {
            @if self.query.filter.is_empty() { "There is nothing here." }
            @else {
                "No name here has “" bdi { (self.query.filter) } "” in it. "
                a href=(self.query.unfiltered().href()) { "Show all" }
            }
        }
    }

    fn column(&self, sort: Sort) -> Markup {
        let query = self.query;
        let sorted = match query.is_descending {
            _ if query.sort != sort => None,
            false => Some("ascending"),
            true => Some("descending"),
        };
        html! {
            th .(sort.word()) scope="col" aria-sort=[sorted] {
                a href=(query.sorted_by(sort).href()) rel="nofollow" {
                    @match sort {
                        Sort::Name => "Name",
                        Sort::Size => "Size",
                        Sort::Modified => { "Modified" span.zone { " (UTC)" } }
                    }
                }
            }
        }
    }

    /// References to other pages, if there are any.
    fn pager(&self) -> Markup {
        let (page, pages) = (self.query.page, self.pages());
        let first_row = (page - 1) * ROWS_MAX + 1;
        let last_row = self.total().min(page * ROWS_MAX);
        let to = |page, rel: Option<&str>, text: &str| {
            html! { a href=(self.query.at_page(page).href()) rel=[rel] { (text) } }
        };
        html! {
            div #pages {
                @if pages > 1 {
                    nav aria-label="Pages" {
                        @if page > 1 {
                            (to(1, None, "First")) (to(page - 1, Some("prev"), "Previous"))
                        }
                        span {
                            (Count(first_row)) "–" (Count(last_row)) " of " (Count(self.total()))
                        }
                        @if page < pages {
                            (to(page + 1, Some("next"), "Next")) (to(pages, None, "Last"))
                        }
                        form method="get" {
                            (self.order_fields())
                            @if !self.query.filter.is_empty() {
                                input type="hidden" name="q" value=(self.query.filter);
                            }
                            label { "Page " input type="number" name="page" min="1" max=(pages)
                                value=(page) required; }
                            button { "Go" }
                        }
                    }
                }
            }
        }
    }

    fn footer(&self) -> Markup {
        let json = super::Query { is_json: true, ..self.query.clone() };
        html! {
            footer {
                p #keys hidden {
                    span { kbd { "/" } " filter" }
                    span { kbd { "↑" } " " kbd { "↓" } " move" }
                    span { kbd { "Enter" } " open" }
                    span { kbd { "Space" } " preview" }
                }
                p #links {
                    @for form in self.archives {
                        a href={ "?archive=" (form) } rel="nofollow" download {
                            "Download as " (form)
                        }
                    }
                    a href=(json.href()) rel="nofollow" { "JSON" }
                }
            }
        }
    }
}

impl Name {
    fn row(&self, media_types: &MediaTypes) -> Markup {
        let slash = if self.is_directory { "/" } else { "" };
        let look =
            if self.is_directory { Look::Folder } else { Look::of(&self.bytes, media_types) };
        let size = self.size();
        html! {
            tr {
                td {
                    a href={ (target::encode(&self.bytes).to_string()) (slash) }
                        data-preview=[look.preview()] {
                        (icon(look.icon()))
                        span { bdi { (String::from_utf8_lossy(&self.bytes)) } (slash) }
                    }
                }
                td.size title=[size.map(|size| format!("{} bytes", Count(size)))] {
                    @if let Some(size) = size { (Size(size)) }
                }
                td.modified { (self.date()) }
            }
        }
    }

    fn date(&self) -> Markup {
        let Some(text) = self.modified().and_then(date::sortable) else { return html! {} };
        let (day, time) = text.split_once(' ').unwrap_or((&text, ""));
        html! { time datetime={ (day) "T" (time) "Z" } { (day) span.time { " " (time) } } }
    }
}

fn icon(name: &str) -> Markup {
    html! { svg.icon.(name) aria-hidden="true" { use href={ "#" (name) } {} } }
}

/// Sends files into the directory; with the script each by itself, which shows how far it is.
fn upload() -> Markup {
    html! {
        section {
            form #upload method="post" action="./" enctype="multipart/form-data" {
                label for="files" { "Add files" }
                input #files type="file" name="file" multiple required;
                button { "Upload" }
                span #drop hidden { "or drop them on the page" }
            }
            ul #uploads aria-label="Files that are being added" hidden {}
            p #told.unseen role="status" {}
        }
    }
}

/// Where the script shows files. Without the script it is never open.
fn preview() -> Markup {
    html! {
        dialog #preview aria-labelledby="shown" {
            div.bar {
                h2 #shown {}
                button #previous type="button" aria-label="Previous" { (icon("left")) }
                button #next type="button" aria-label="Next" { (icon("right")) }
                a #open href="./" { "Open" }
                button #shut type="button" aria-label="Close" { (icon("close")) }
            }
            div #content {}
            p #note role="status" {}
        }
    }
}
