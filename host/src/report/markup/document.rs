//! A text in blocks, made from CommonMark and the values of its placeholders.
//!
//! A value becomes text, code or an address, wherever its placeholder is. It is never parsed.

use pulldown_cmark::{Event, Options, Parser, Tag};

use super::placeholder;
use super::web_link::web_link;
use crate::report::engine::Expanded;

/// Maximum depth of quotes, lists and emphasis; deeper ones are read as text of the outer element.
const DEPTH_MAX: usize = 12;

/// A text in blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::report) struct Document {
    pub(super) blocks: Vec<Block>,
    /// Blocks at the end of the text, which are kept if the text is cut.
    pub(super) notes: Vec<Block>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Block {
    Paragraph(Vec<Inline>),
    Heading(u8, Vec<Inline>),
    Code(String),
    Quote(Vec<Block>),
    /// The number of the first item, if it has numbers.
    List(Option<u64>, Vec<Vec<Block>>),
    Rule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Inline {
    /// Plain text without line breaks.
    Text(String),
    /// Code without line breaks.
    Code(String),
    Strong(Vec<Inline>),
    Emphasis(Vec<Inline>),
    /// The address is one that [`web_link`] returned, and the inlines are its label.
    Link(String, Vec<Inline>),
    Break,
}

impl Document {
    /// Parses a canonical text.
    pub(in crate::report) fn parse(canonical: &Expanded) -> Self {
        let mut builder = Builder::new(&canonical.values);
        Parser::new_ext(&canonical.text, Options::empty()).for_each(|event| builder.event(event));
        Self { blocks: builder.finish(), notes: Vec::new() }
    }

    /// The line that contains a marker.
    pub(super) fn marker(marker: &str) -> Self {
        let marker: String = marker.chars().filter(|c| !c.is_control()).collect();
        let text = format!("Jackfield marker, used to find this again: {marker}");
        Self { blocks: vec![Block::Paragraph(vec![Inline::Text(text)])], notes: Vec::new() }
    }

    /// Appends the second document to the first, if there is a first.
    pub(super) fn join(first: Option<Self>, second: Self) -> Self {
        let mut blocks = first.unwrap_or_default().blocks;
        blocks.extend(second.blocks);
        blocks.extend(second.notes);
        Self { blocks, notes: Vec::new() }
    }

    /// Adds a paragraph of plain text at the end.
    pub(in crate::report) fn add_note(&mut self, note: &str) {
        self.notes.push(plain(note));
    }

    /// Adds a list of plain texts at the end, under a heading.
    pub(in crate::report) fn add_list(&mut self, heading: &str, items: &[String]) {
        let heading = Inline::Text(heading.to_owned());
        self.notes.push(Block::Heading(2, vec![heading]));
        let items = items.iter().map(|item| vec![plain(item)]);
        self.notes.push(Block::List(None, items.collect()));
    }
}

fn plain(text: &str) -> Block {
    let mut inlines = Vec::new();
    push_text(&mut inlines, text);
    Block::Paragraph(inlines)
}

/// Text without control characters; its lines are separated by breaks.
fn push_text(inlines: &mut Vec<Inline>, text: &str) {
    for (index, line) in text.trim_end_matches('\n').split('\n').enumerate() {
        if index > 0 {
            inlines.push(Inline::Break);
        }
        if !line.is_empty() {
            inlines.push(Inline::Text(line.replace('\t', " ")));
        }
    }
}

/// An element whose end was not read yet.
struct Open {
    kind: Kind,
    blocks: Vec<Block>,
    items: Vec<Vec<Block>>,
    inlines: Vec<Inline>,
    /// Text that the next event may continue.
    text: String,
}

enum Kind {
    Root,
    Paragraph,
    Heading(u8),
    Code,
    Quote,
    List(Option<u64>),
    Item,
    Strong,
    Emphasis,
    Link(String),
}

struct Builder<'v> {
    values: &'v [String],
    open: Vec<Open>,
    /// For each element that has begun, whether `open` contains it. Elements that are nested too
    /// deeply are not in `open`.
    known: Vec<bool>,
}

impl<'v> Builder<'v> {
    fn new(values: &'v [String]) -> Self {
        Self { values, open: vec![Open::new(Kind::Root)], known: Vec::new() }
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(_) if self.known.pop().unwrap_or(false) => self.end(),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.text(&text),
            Event::Code(code) => {
                let code = placeholder::resolve(&code, self.values).replace(['\n', '\t'], " ");
                self.inline(Inline::Code(code));
            }
            Event::SoftBreak => self.text(" "),
            Event::HardBreak => self.inline(Inline::Break),
            Event::Rule => self.block(Block::Rule),
            // Other events belong to extensions of CommonMark that are not enabled.
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        let kind = match tag {
            Tag::Paragraph | Tag::HtmlBlock => Some(Kind::Paragraph),
            Tag::Heading { level, .. } => Some(Kind::Heading(level as u8)),
            Tag::CodeBlock(_) => Some(Kind::Code),
            Tag::BlockQuote(_) => Some(Kind::Quote),
            Tag::List(first) => Some(Kind::List(first)),
            Tag::Item => Some(Kind::Item),
            Tag::Strong => Some(Kind::Strong),
            Tag::Emphasis => Some(Kind::Emphasis),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                web_link(&placeholder::resolve(&dest_url, self.values)).map(Kind::Link)
            }
            _ => None,
        };
        let kind = kind.filter(|kind| {
            // An item belongs to its list, whatever their depth.
            let in_list = matches!(self.open.last(), Some(Open { kind: Kind::List(_), .. }));
            self.open.len() < DEPTH_MAX || (in_list && matches!(kind, Kind::Item))
        });
        self.known.push(kind.is_some());
        if let Some(kind) = kind {
            self.flush();
            self.open.push(Open::new(kind));
        }
    }

    fn end(&mut self) {
        self.flush();
        let Some(open) = self.open.pop() else { return };
        match open.kind {
            Kind::Root => self.open.push(open),
            Kind::Paragraph => self.block(Block::Paragraph(open.inlines)),
            Kind::Heading(level) => self.block(Block::Heading(level, open.inlines)),
            Kind::Code => {
                let text = placeholder::resolve(&open.text, self.values);
                self.block(Block::Code(text.trim_end_matches('\n').to_owned()));
            }
            Kind::Quote => self.block(Block::Quote(open.finish())),
            Kind::List(first) => self.block(Block::List(first, open.items)),
            Kind::Item => {
                let item = open.finish();
                if let Some(list) = self.open.last_mut() {
                    list.items.push(item);
                }
            }
            Kind::Strong => self.inline(Inline::Strong(open.inlines)),
            Kind::Emphasis => self.inline(Inline::Emphasis(open.inlines)),
            Kind::Link(url) => self.inline(Inline::Link(url, open.inlines)),
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(open) = self.open.last_mut() {
            open.text.push_str(text);
        }
    }

    fn inline(&mut self, inline: Inline) {
        self.flush();
        if let Some(open) = self.open.last_mut() {
            open.inlines.push(inline);
        }
    }

    fn block(&mut self, block: Block) {
        self.flush();
        let is_empty = match &block {
            Block::Paragraph(inlines) | Block::Heading(_, inlines) => !has_text(inlines),
            Block::Code(text) => text.trim().is_empty(),
            Block::Quote(blocks) => blocks.is_empty(),
            Block::List(_, items) => items.iter().all(Vec::is_empty),
            Block::Rule => false,
        };
        if let Some(open) = self.open.last_mut().filter(|_| !is_empty) {
            open.end_paragraph();
            open.blocks.push(block);
        }
    }

    /// Ends the current text, except inside code.
    fn flush(&mut self) {
        if let Some(open) = self.open.last_mut()
            && !matches!(open.kind, Kind::Code)
        {
            let text = placeholder::resolve(&std::mem::take(&mut open.text), self.values);
            push_text(&mut open.inlines, &text);
        }
    }

    fn finish(mut self) -> Vec<Block> {
        self.flush();
        self.open.pop().map(Open::finish).unwrap_or_default()
    }
}

impl Open {
    fn new(kind: Kind) -> Self {
        let (blocks, items, inlines) = (Vec::new(), Vec::new(), Vec::new());
        Self { kind, blocks, items, inlines, text: String::new() }
    }

    /// Items of tight lists have text without a paragraph.
    fn end_paragraph(&mut self) {
        let inlines = std::mem::take(&mut self.inlines);
        if has_text(&inlines) {
            self.blocks.push(Block::Paragraph(inlines));
        }
    }

    fn finish(mut self) -> Vec<Block> {
        self.end_paragraph();
        self.blocks
    }
}

/// Whether the inlines contain anything but spaces.
fn has_text(inlines: &[Inline]) -> bool {
    inlines.iter().any(|inline| match inline {
        Inline::Text(text) | Inline::Code(text) => !text.trim().is_empty(),
        Inline::Strong(inner) | Inline::Emphasis(inner) | Inline::Link(_, inner) => has_text(inner),
        Inline::Break => false,
    })
}
