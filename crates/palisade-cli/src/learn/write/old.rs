//! Where in a text something is added. It is never written anew: all that is done is to put text between, so that nobody's
//! comments, order and spacing are lost.

use std::ops::Range;

use palisade::Rights;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::quoted;

type Value<'t> = Spanned<DeValue<'t>>;

/// A value as it is written, and the comment beside it, which may be empty.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub value: String,
    pub comment: String,
}

impl Item {
    fn bare(value: String) -> Item {
        Item { value, comment: String::new() }
    }
}

/// What is added to a table.
#[derive(Debug)]
pub(super) struct Section {
    /// Empty at the top of the file.
    pub table: &'static str,
    /// What is added to each list; in `scope` the value itself.
    pub keys: Vec<(&'static str, Vec<Item>)>,
    /// Paths with rights that no key has.
    pub allow: Vec<(Rights, Vec<Item>)>,
}

const INDENTATION: &str = "    ";
/// Comments stand below one another beside values that end before this column.
const ALIGNED: usize = 40;

/// A policy as it is: what it says, and where.
pub(super) struct Old<'t> {
    /// Each line of it has an end.
    text: &'t str,
    table: DeTable<'t>,
    /// In the order of the text.
    headers: Vec<Range<usize>>,
    /// Of all keys, but for those in values.
    values: Vec<Range<usize>>,
}

impl<'t> Old<'t> {
    pub fn read(text: &'t str) -> Result<Old<'t>, String> {
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().unwrap_or_default().start;
            format!("line {} is no TOML: {}", line(text, at), error.message())
        })?;
        let mut old = Old { text, table: DeTable::default(), headers: Vec::new(), values: Vec::new() };
        let table = table.into_inner();
        old.survey(&table);
        old.headers.sort_by_key(|header| header.start);
        old.table = table;
        Ok(old)
    }

    fn survey(&mut self, table: &DeTable<'_>) {
        for value in table.values() {
            match value.get_ref() {
                // One that is only there because of its keys, or of tables in it, has the place of a key.
                DeValue::Table(inner) if !self.begins(value, "{") => {
                    if self.begins(value, "[") {
                        self.headers.push(value.span());
                    }
                    self.survey(inner);
                }
                DeValue::Array(list) if self.is_tables(list) => {
                    self.headers.extend(list.iter().map(Spanned::span));
                    list.iter()
                        .filter_map(|entry| entry.get_ref().as_table())
                        .for_each(|inner| self.survey(inner));
                }
                _ => self.values.push(value.span()),
            }
        }
    }

    fn begins(&self, value: &Value<'_>, with: &str) -> bool {
        self.text[value.span().start..].starts_with(with)
    }

    /// Whether a list is of tables that have headers.
    fn is_tables(&self, list: &DeArray<'_>) -> bool {
        list.iter().any(|entry| entry.get_ref().is_table() && self.begins(entry, "["))
    }

    fn wrong(&self, value: &Value<'_>, what: &str) -> String {
        format!("line {}: {what}", line(self.text, value.span().start))
    }

    /// A table by its name.
    fn table(&self, name: &str) -> Result<Option<(&Value<'t>, &DeTable<'t>)>, String> {
        match self.table.get(name).map(|value| (value, value.get_ref())) {
            None => Ok(None),
            Some((value, DeValue::Table(table))) => Ok(Some((value, table))),
            Some((value, _)) => Err(self.wrong(value, &format!("{name} is no table"))),
        }
    }

    fn value(&self, table: &str, key: &str) -> Result<Option<&Value<'t>>, String> {
        match table {
            "" => Ok(self.table.get(key)),
            _ => Ok(self.table(table)?.and_then(|(_, table)| table.get(key))),
        }
    }

    /// Where the header after a place begins.
    fn next_header(&self, at: usize) -> Option<usize> {
        self.headers.iter().map(|header| header.start).find(|start| *start >= at)
    }

    /// The end of the last value between a place and the next header; the place itself where there is none.
    fn last_value(&self, at: usize) -> usize {
        let end = self.next_header(at).unwrap_or(self.text.len());
        let values = self.values.iter().filter(|value| (at..end).contains(&value.start));
        values.map(|value| value.end).max().unwrap_or(at)
    }

    /// Where the line after a place begins.
    fn next_line(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |end| at + end + 1)
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |end| end + 1)
    }

    fn indentation(&self, at: usize) -> &'t str {
        let line = &self.text[self.line_start(at)..];
        &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
    }

    /// Where a table whose header or entry is at a place ends: after its last value, and the comments below that are not of
    /// the header that follows.
    fn section_end(&self, at: usize) -> usize {
        let end = self.next_line(self.last_value(at));
        let rest = self.text[end..].lines();
        let comments = rest.take_while(|line| line.trim_start().starts_with('#')).count();
        let after = (0..comments).fold(end, |at, _| self.next_line(at));
        let of_header = self.next_header(end).is_some_and(|header| self.line_start(header) == after);
        if of_header { end } else { after }
    }

    /// Where keys are put before the first header: above its comment, unless that is the first of the file.
    fn above(&self, header: usize) -> usize {
        let header = self.line_start(header);
        let mut at = header;
        while at > 0 {
            let before = self.line_start(at - 1);
            if !self.text[before..at].trim_start().starts_with('#') {
                return at;
            }
            at = before;
        }
        header
    }

    /// The end of a value; of one that is written as dotted keys, of the last of these.
    fn end(&self, value: &Value<'_>) -> usize {
        let inner = value.get_ref().as_table().filter(|_| !self.begins(value, "{"));
        let ends = inner.into_iter().flat_map(|table| table.values()).map(|value| self.end(value));
        ends.max().unwrap_or(value.span().end)
    }

    /// Behind the comma after the last element of something in brackets.
    fn comma(&self, last: usize, close: usize) -> Option<usize> {
        let mut comment = false;
        self.text[last..close].char_indices().find_map(|(at, c)| {
            comment = (comment || c == '#') && c != '\n';
            (c == ',' && !comment).then_some(last + at + 1)
        })
    }
}

fn line(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Whether two values are the same.
fn same(one: &DeValue<'_>, other: &DeValue<'_>) -> bool {
    match (one, other) {
        (DeValue::String(one), DeValue::String(other)) => one == other,
        (DeValue::Integer(one), DeValue::Integer(other)) => one.to_string() == other.to_string(),
        (DeValue::Array(one), DeValue::Array(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| same(one.get_ref(), other.get_ref()))
        }
        (DeValue::Table(one), DeValue::Table(other)) => {
            let there = |key, value: &Value<'_>| {
                other.get(key).is_some_and(|other| same(value.get_ref(), other.get_ref()))
            };
            one.len() == other.len() && one.iter().all(|(key, value)| there(key, value))
        }
        _ => false,
    }
}

/// Those that are not there yet.
fn missing(items: &[Item], there: &[Value<'_>]) -> Vec<Item> {
    let is_there = |item: &&Item| {
        DeValue::parse(&item.value)
            .is_ok_and(|value| there.iter().any(|there| same(there.get_ref(), value.get_ref())))
    };
    items.iter().filter(|item| !is_there(item)).cloned().collect()
}

/// One item a line, with the comments below one another.
fn rows(items: &[Item], indentation: &str) -> String {
    let length = |item: &Item| item.value.chars().count() + 1;
    let width = items.iter().map(length).filter(|length| *length <= ALIGNED).max().unwrap_or_default();
    let row = |item: &Item| {
        let value = format!("{},", item.value.replace('\n', &format!("\n{indentation}")));
        match item.comment.as_str() {
            "" => format!("{indentation}{value}\n"),
            comment => format!("{indentation}{value:width$}  # {comment}\n"),
        }
    };
    items.iter().map(row).collect()
}

fn list(items: &[Item]) -> String {
    format!("[\n{}]", rows(items, INDENTATION))
}

/// What is put into an old text.
pub(super) struct Merge<'o, 't> {
    old: &'o Old<'t>,
    /// What takes the place of what; the place is empty, or has nothing but spaces in it.
    edits: Vec<(Range<usize>, String)>,
    /// Keys and tables. They come after what an edit puts at the same place: it may be the rest of a value.
    added: Vec<(Range<usize>, String)>,
    /// What comes at the end.
    sections: Vec<String>,
}

impl<'o, 't> Merge<'o, 't> {
    pub fn new(old: &'o Old<'t>) -> Merge<'o, 't> {
        Merge { old, edits: Vec::new(), added: Vec::new(), sections: Vec::new() }
    }

    /// The new text.
    pub fn text(mut self, newline: &str) -> String {
        self.edits.append(&mut self.added);
        // At the same place they stay in this order.
        self.edits.sort_by_key(|(at, _)| at.start);
        let (mut text, mut from) = (String::new(), 0);
        for (at, new) in &self.edits {
            text += &self.old.text[from..at.start];
            text += &new.replace('\n', newline);
            from = at.end;
        }
        text += &self.old.text[from..];
        for section in &self.sections {
            if text.lines().next_back().is_some_and(|line| !line.trim().is_empty()) {
                text += newline;
            }
            text += &section.replace('\n', newline);
        }
        text
    }

    fn insert(&mut self, at: usize, text: impl Into<String>) {
        self.edits.push((at..at, text.into()));
    }

    fn add(&mut self, at: usize, text: String) {
        self.added.push((at..at, text));
    }

    pub fn section(&mut self, section: &Section) -> Result<(), String> {
        let old = self.old;
        let mut keys: Vec<(&str, Item)> = Vec::new();
        for (key, items) in &section.keys {
            let name = [section.table, key].join(".");
            let name = name.trim_start_matches('.');
            match old.value(section.table, key)? {
                Some(value) if section.table == "scope" => {
                    if value.get_ref().as_str() != Some("unrestricted") {
                        return Err(old.wrong(value, &format!("{name} is not \"unrestricted\"")));
                    }
                }
                Some(value) => self.extend(value, name, items)?,
                None if section.table == "scope" => {
                    keys.extend(items.first().map(|item| (*key, item.clone())))
                }
                None => keys.push((key, Item::bare(list(items)))),
            }
        }
        if section.allow.is_empty() {
            return self.keys(section.table, &keys);
        }
        let allow = self.allow(&section.allow)?;
        if !allow.is_empty() && old.table("fs")?.is_some_and(|(fs, _)| old.begins(fs, "{")) {
            keys.push(("allow", Item::bare(list(&entries(&allow)))));
            return self.keys("fs", &keys);
        }
        self.keys("fs", &keys)?;
        self.tables(&allow)
    }

    /// Adds keys that a table does not have.
    fn keys(&mut self, name: &str, keys: &[(&str, Item)]) -> Result<(), String> {
        if keys.is_empty() {
            return Ok(());
        }
        let old = self.old;
        let lines = |before: &str| -> String {
            let comment = |item: &Item| match item.comment.as_str() {
                "" => String::new(),
                comment => format!("  # {comment}"),
            };
            keys.iter()
                .map(|(key, item)| format!("{before}{key} = {}{}\n", item.value, comment(item)))
                .collect()
        };
        let top = old.last_value(0);
        if name.is_empty() {
            match old.next_header(0) {
                _ if top > 0 => self.add(old.next_line(top), lines("")),
                Some(header) => self.add(old.above(header), lines("") + "\n"),
                None => self.sections.push(lines("")),
            }
            return Ok(());
        }
        match old.table(name)? {
            Some((value, table)) if old.begins(value, "{") => self.inline(value, table, keys),
            Some((value, _)) if old.begins(value, "[") => {
                self.add(old.next_line(old.last_value(value.span().end)), lines(""));
            }
            Some((value, _)) if value.span().start < top => {
                self.add(old.next_line(top), lines(&format!("{name}.")));
            }
            // Where it is only there because of [[fs.allow]] it has no header yet.
            _ => self.sections.push(format!("[{name}]\n{}", lines(""))),
        }
        Ok(())
    }

    /// Adds keys to a table in braces: on its last line if there is more on that, where there is no place for comments.
    fn inline(&mut self, value: &Value<'_>, table: &DeTable<'_>, keys: &[(&str, Item)]) {
        let span = value.span();
        let last = table.values().max_by_key(|value| value.span().start);
        let item =
            |(key, item): &(&str, Item)| Item { value: format!("{key} = {}", item.value), ..item.clone() };
        let items: Vec<Item> = keys.iter().map(item).collect();
        let end = last.map_or(span.start + 1, |last| self.old.end(last));
        if self.old.text[end..span.end - 1].contains('\n') {
            return self.append(&span, table.values(), &items);
        }
        let text = items.iter().map(|item| item.value.as_str()).collect::<Vec<_>>().join(", ");
        match (last, self.old.comma(end, span.end - 1)) {
            (None, _) => self.edits.push((end..span.end - 1, format!(" {text} "))),
            (_, Some(comma)) => self.insert(comma, format!(" {text}")),
            (_, None) => self.insert(end, format!(", {text}")),
        }
    }

    /// Adds what is not there to a list, or to a value that stands for one.
    fn extend(&mut self, value: &Value<'_>, name: &str, items: &[Item]) -> Result<(), String> {
        let old = self.old;
        match value.get_ref() {
            DeValue::Array(list) if !old.is_tables(list) => {
                self.append(&value.span(), list.iter(), &missing(items, list));
            }
            DeValue::Integer(_) if name.starts_with("net.") => self.lone(value, items),
            DeValue::String(_) => self.lone(value, items),
            DeValue::Table(_) if old.begins(value, "{") => self.lone(value, items),
            _ => return Err(old.wrong(value, &format!("{name} is no list"))),
        }
        Ok(())
    }

    /// Makes a list of a value that stands for one.
    fn lone(&mut self, value: &Value<'_>, items: &[Item]) {
        let items = missing(items, std::slice::from_ref(value));
        if items.is_empty() {
            return;
        }
        let (old, span) = (self.old, value.span());
        let outer = old.indentation(span.start);
        let inner = format!("{outer}{INDENTATION}");
        let line = old.next_line(span.end);
        let rows = rows(&items, &inner);
        self.insert(span.start, format!("[\n{inner}"));
        // Its comment stays beside it; in braces the next key may be on the same line.
        if old.values.contains(&span) {
            self.insert(span.end, ",");
            self.insert(line, format!("{rows}{outer}]\n"));
        } else {
            self.insert(span.end, format!(",\n{rows}{outer}]"));
        }
    }

    /// Adds to what is in brackets or braces.
    fn append<'v, 'x: 'v>(
        &mut self,
        span: &Range<usize>,
        there: impl Iterator<Item = &'v Value<'x>>,
        items: &[Item],
    ) {
        if items.is_empty() {
            return;
        }
        let (old, open, close) = (self.old, span.start + 1, span.end - 1);
        let there: Vec<Range<usize>> = there.map(|value| value.span().start..old.end(value)).collect();
        let (first, last) = (there.iter().min_by_key(|at| at.start), there.iter().max_by_key(|at| at.start));
        let end = last.map_or(open, |last| last.end);
        let comma = old.comma(end, close);
        let missing = if last.is_some() && comma.is_none() { "," } else { "" };
        let solid = comma.unwrap_or(end);
        let outer = old.indentation(open);
        let inner = match last.map(|last| last.start) {
            Some(last) if old.line_start(last) > open => old.indentation(last).to_owned(),
            _ => format!("{outer}{INDENTATION}"),
        };
        let rows = rows(items, &inner);
        let line = old.line_start(close);
        if line > solid {
            // The bracket has a line of its own, above which there may be comments.
            self.insert(end, missing);
            self.insert(line, rows);
            return;
        }
        if let Some(first) = first.filter(|_| !old.text[open..close].contains('\n')) {
            self.edits.push((open..first.start, format!("\n{inner}")));
        }
        self.edits.push((solid..close, format!("{missing}\n{rows}{outer}")));
    }

    /// Adds to `fs.allow`: paths to those that have the same rights and say no more, others where they are in a list. Those
    /// that are left belong in tables of their own.
    fn allow(&mut self, allow: &[(Rights, Vec<Item>)]) -> Result<Vec<(Rights, Vec<Item>)>, String> {
        let old = self.old;
        let Some(value) = old.value("fs", "allow")? else {
            return Ok(allow.to_vec());
        };
        let there: Vec<&DeTable<'_>> = match value.get_ref() {
            DeValue::Table(table) => vec![table],
            DeValue::Array(list) => list.iter().filter_map(|entry| entry.get_ref().as_table()).collect(),
            _ => return Err(old.wrong(value, "fs.allow is no list")),
        };
        let mut new = Vec::new();
        for (rights, items) in allow {
            let has = |table: &&&DeTable<'_>| {
                let said = table.get("rights").and_then(|rights| rights.get_ref().as_str()?.parse().ok());
                said == Some(*rights) && table.len() == 2
            };
            match there.iter().find(has).and_then(|table| table.get("paths")) {
                Some(paths) => self.extend(paths, "paths", items)?,
                None => new.push((*rights, items.clone())),
            }
        }
        match value.get_ref() {
            _ if new.is_empty() => {}
            DeValue::Array(list) if old.is_tables(list) => return Ok(new),
            DeValue::Array(list) => self.append(&value.span(), list.iter(), &entries(&new)),
            _ if old.begins(value, "[") => return Ok(new),
            _ if old.begins(value, "{") => self.lone(value, &entries(&new)),
            _ => {
                let hint = "fs.allow is written with dots; write it as [[fs.allow]] to add to it";
                return Err(old.wrong(value, hint));
            }
        }
        Ok(Vec::new())
    }

    /// Adds tables below those that are there.
    fn tables(&mut self, allow: &[(Rights, Vec<Item>)]) -> Result<(), String> {
        if allow.is_empty() {
            return Ok(());
        }
        let old = self.old;
        let new = allow.iter().map(|(rights, items)| {
            format!("[[fs.allow]]\npaths = {}\nrights = {}\n", list(items), quoted(&rights.to_string()))
        });
        let header = match old.value("fs", "allow")? {
            Some(value) => match value.get_ref() {
                DeValue::Array(list) => list.iter().map(|entry| entry.span().end).max(),
                // One table alone, as it may stand, becomes the first of several.
                _ => {
                    self.insert(value.span().start + 1, "[");
                    self.insert(value.span().end - 1, "]");
                    Some(value.span().end)
                }
            },
            None => old.table("fs")?.filter(|(fs, _)| old.begins(fs, "[")).map(|(fs, _)| fs.span().end),
        };
        match header {
            Some(at) => {
                self.add(old.section_end(at), new.map(|table| format!("\n{table}")).collect::<String>())
            }
            None => self.sections.extend(new),
        }
        Ok(())
    }
}

/// Tables of `[[fs.allow]]` as they are written in a list.
fn entries(allow: &[(Rights, Vec<Item>)]) -> Vec<Item> {
    let entry = |(rights, items): &(Rights, Vec<Item>)| {
        let rights = quoted(&rights.to_string());
        Item::bare(format!("{{ paths = {}, rights = {rights} }}", list(items)))
    };
    allow.iter().map(entry).collect()
}
