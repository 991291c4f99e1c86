use super::*;
use crate::analyze::fixture;

/// Elements that have no end tag.
const VOID: [&str; 3] = ["meta", "wbr", "!DOCTYPE"];

fn pages() -> [String; 2] {
    [render(&fixture::report()), render_difference(&fixture::difference())]
}

#[test]
fn every_element_that_is_opened_is_closed_in_order() {
    for page in pages() {
        let mut open = Vec::new();
        let mut rest = page.as_str();
        while let Some((_, tag)) = rest.split_once('<') {
            let (tag, after) = tag.split_once('>').unwrap();
            rest = after;
            let name = tag.trim_start_matches('/').split([' ', '/', '\n']).next().unwrap();
            if let Some(closed) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(closed), "before {after:.200}");
            } else if !VOID.contains(&name) {
                open.push(name);
            }
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        }
        assert_eq!(open, Vec::<&str>::new());
    }
}

#[test]
fn the_page_needs_nothing_but_itself() {
    for page in pages() {
        for outside in ["http:", "https:", "//", "src=", "@import", "url(", "<script", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
        for part in page.split("href=\"").skip(1) {
            let target = part.split('"').next().unwrap();
            let id = target.strip_prefix('#').unwrap_or_else(|| panic!("{target} leads outside"));
            assert_eq!(page.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
        }
    }
}

#[test]
fn labels_are_text() {
    let [report, difference] = pages();
    for text in [
        "{a=&quot;&lt;b&gt;&amp;&quot;}",
        "pod=&lt;script&gt;alert(1)&lt;/script&gt;",
        "{a&lt;&quot;b&quot;}",
    ] {
        assert!(report.contains(text), "{text}");
    }
    assert!(difference.contains("&lt;up&gt;") && !difference.contains("<up>"));
}

#[test]
fn bars_are_as_long_as_their_amounts() {
    let [report, _] = pages();
    let section = |id: &str| {
        let (_, section) = report.split_once(&format!("<section id=\"{id}\">")).unwrap();
        section.split_once("</section>").unwrap().0.to_owned()
    };
    let metrics = section("metrics-by-series");
    let (up, none) = metrics.split_once("(without a name)").unwrap();
    assert!(up.contains("width:100.0%") && none.contains("width:33.3%"), "{metrics}");
    let space = section("space");
    assert!(
        space.contains("part-0\" style=\"flex-grow:30000\"") && space.contains("29.3 KiB, 74.9 %")
    );
    let chunks = section("chunks");
    assert!(chunks.contains("111 to 120") && chunks.contains("1, 50.0 %"), "{chunks}");
}

#[test]
fn series_of_the_whole_block_neither_come_nor_leave() {
    let [report, _] = pages();
    for part in [
        "between 2 and 3 series at a time, in 60 steps of 2 min",
        "first sample after the first step, up to 1 in a step",
        "last sample before the last step, up to 1 in a step",
    ] {
        assert!(report.contains(part), "{part}");
    }
}

#[test]
fn what_was_not_read_has_no_section() {
    let mut report = fixture::report();
    (report.activity, report.fill) = (None, None);
    report.top = crate::analyze::report::Lists::default();
    let page = render(&report);
    assert!(page.contains("id=\"space\""));
    for absent in ["activity", "chunks", "metrics-by-series"] {
        assert!(
            !page.contains(&format!("\"{absent}\"")) && !page.contains(&format!("#{absent}\""))
        );
    }
}
