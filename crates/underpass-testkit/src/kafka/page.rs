//! The page that tells which client does what with a server: a table that a command writes, and
//! that tests compare with what they see.

use std::fmt::Write as _;
use std::io;

use super::{Answer, Client, Feature, Tool};

/// What every client and tool did.
#[derive(Debug, Default)]
pub struct Page {
    clients: Vec<(Client, Vec<(Feature, Answer)>)>,
    tools: Vec<(Tool, Answer)>,
}

const HEAD: &str = "# Kafka's clients with `underpass log`

Written by `cargo xtask clients`, which runs every client unmodified on a server of this workspace;
the tests compare each column with what they see. *yes* means that the client did it and found the
result right, – that the client has no such call. A codec arrives compressed if the batches in the
segment file have it.
";

impl Page {
    /// Adds a column.
    pub fn add(&mut self, client: Client, answers: Vec<(Feature, Answer)>) {
        self.clients.push((client, answers));
    }

    /// Adds the tools.
    pub fn add_tools(&mut self, tools: Vec<(Tool, Answer)>) {
        self.tools = tools;
    }

    /// The page in Markdown.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        text.push('\n');
        let names = self.clients.iter().map(|(client, _)| client.name().to_owned());
        row(&mut text, [String::new()].into_iter().chain(names));
        row(&mut text, vec!["---".to_owned(); self.clients.len() + 1]);
        for (place, feature) in Feature::ALL.iter().enumerate() {
            let cells = self.clients.iter().map(|(_, answers)| answers[place].1.to_string());
            row(&mut text, [feature.title()].into_iter().chain(cells));
        }
        text.push_str("\n## Kafka's command-line tools, 4.1.0\n\n| tool | |\n|---|---|\n");
        for (tool, answer) in &self.tools {
            row(&mut text, [tool_cell(*tool), answer.to_string()]);
        }
        self.reasons(&mut text);
        text
    }

    /// Why each *no* is one.
    fn reasons(&self, text: &mut String) {
        let of_clients = self.clients.iter().flat_map(|(client, answers)| {
            let name = client.name();
            answers.iter().map(move |(of, answer)| (format!("{name}, {}", of.title()), answer))
        });
        let of_tools = self.tools.iter().map(|(tool, answer)| (tool_cell(*tool), answer));
        let mut reasons = of_clients.chain(of_tools).filter_map(|(of, answer)| match answer {
            Answer::No(why) => Some((of, why)),
            Answer::Yes | Answer::Cannot => None,
        });
        if let Some(first) = reasons.next() {
            text.push_str("\n## Why not\n\n");
            for (of, why) in [first].into_iter().chain(reasons) {
                let why: String = why.split_whitespace().collect::<Vec<_>>().join(" ");
                writeln!(text, "- {of}: {why}").expect("a String takes every write");
            }
        }
    }
}

/// The cells of a client's column on a page, in the order of the features.
///
/// # Errors
///
/// `NotFound` if the page has no such column or lacks a feature.
pub fn column_of(page: &str, client: Client) -> io::Result<Vec<String>> {
    let mut rows = page.lines().map(cells);
    let head = rows.find(|row| row.iter().any(|cell| cell == client.name()));
    let place = head.and_then(|row| row.iter().position(|cell| cell == client.name()));
    let place = place.ok_or_else(|| absent(client.name()))?;
    let of = |feature: &Feature| {
        let title = feature.title();
        let row = page.lines().map(cells).find(|row| row.first() == Some(&title));
        row.and_then(|row| row.get(place).cloned()).ok_or_else(|| absent(&title))
    };
    Feature::ALL.iter().map(of).collect()
}

/// The cell of a tool on a page.
///
/// # Errors
///
/// `NotFound` if the page has no such row.
pub fn cell_of(page: &str, tool: Tool) -> io::Result<String> {
    let name = tool_cell(tool);
    let row = page.lines().map(cells).find(|row| row.first() == Some(&name));
    row.and_then(|row| row.get(1).cloned()).ok_or_else(|| absent(&name))
}

fn tool_cell(tool: Tool) -> String {
    format!("`{}`", tool.title)
}

fn absent(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("the page does not have {what}"))
}

fn row(text: &mut String, cells: impl IntoIterator<Item = String>) {
    let cells: Vec<String> = cells.into_iter().collect();
    writeln!(text, "| {} |", cells.join(" | ")).expect("a String takes every write");
}

fn cells(line: &str) -> Vec<String> {
    let inside = line.trim().trim_start_matches('|').trim_end_matches('|');
    inside.split('|').map(|cell| cell.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read_and_a_no_has_its_reason() {
        let mut page = Page::default();
        let all = |answer: Answer| Feature::ALL.map(|feature| (feature, answer.clone())).to_vec();
        let mut kcat = all(Answer::Yes);
        kcat[1].1 = Answer::No("a | b\nc".to_owned());
        page.add(Client::Kcat, kcat);
        page.add(Client::Java, all(Answer::Cannot));
        page.add_tools(vec![(Tool::ALL[0], Answer::Yes)]);
        let text = page.text();
        let column = column_of(&text, Client::Kcat).unwrap();
        assert_eq!(column[..3], ["yes", "no", "yes"]);
        assert_eq!(column_of(&text, Client::Java).unwrap(), ["–"; Feature::ALL.len()]);
        column_of(&text, Client::Kafkajs).unwrap_err();
        assert_eq!(cell_of(&text, Tool::ALL[0]).unwrap(), "yes");
        cell_of(&text, Tool::ALL[1]).unwrap_err();
        assert!(text.ends_with("- kcat 1.7.1, idempotent producer: a | b c\n"), "{text}");
    }
}
