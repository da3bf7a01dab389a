//! A document of blocks, parsed from CommonMark, in which values replace the placeholders.
//!
//! A value becomes text, code or a link address, depending on where its placeholder is. A value is
//! never parsed as markup.

use pulldown_cmark::{Event, Options, Parser, Tag};

use super::placeholder;
use super::web_link::web_link;
use crate::report::engine::ExpandedTemplate;

/// Maximum depth of nested elements, including the root; an item may be one level deeper. Text in a
/// deeper element belongs to the element around it.
const DEPTH_MAX: usize = 12;

/// A parsed text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::report) struct Document {
    /// The blocks of the text, without the notes.
    pub(super) blocks: Vec<Block>,
    /// Blocks at the end of the text, which are kept if possible when the text is cut.
    pub(super) notes: Vec<Block>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Block {
    Paragraph(Vec<Inline>),
    Heading(u8, Vec<Inline>),
    Code(String),
    Quote(Vec<Block>),
    /// The number of the first item, or `None` if the items have bullets.
    List(Option<u64>, Vec<Vec<Block>>),
    Rule,
}

/// A part of a paragraph or of a heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Inline {
    /// Plain text without line breaks.
    Text(String),
    /// Code without line breaks.
    Code(String),
    Strong(Vec<Inline>),
    Emphasis(Vec<Inline>),
    /// A link: an address that [`web_link`] returned, and its label.
    Link(String, Vec<Inline>),
    Break,
}

impl Document {
    /// Parses an expanded template: CommonMark with placeholders instead of values.
    pub(in crate::report) fn parse(canonical: &ExpandedTemplate) -> Self {
        let mut builder = DocumentBuilder::new(&canonical.values);
        Parser::new_ext(&canonical.text, Options::empty())
            .for_each(|event| builder.handle_event(event));
        Self { blocks: builder.finish(), notes: Vec::new() }
    }

    pub(super) fn marker_line(marker: &str) -> Self {
        let marker: String = marker.chars().filter(|c| !c.is_control()).collect();
        let text = format!("Jackfield marker, used to find this again: {marker}");
        Self { blocks: vec![Block::Paragraph(vec![Inline::Text(text)])], notes: Vec::new() }
    }

    /// Returns one document with the blocks of `first`, if it is given, and then the blocks and the
    /// notes of `second`.
    pub(super) fn join(first: Option<Self>, second: Self) -> Self {
        let mut blocks = first.unwrap_or_default().blocks;
        blocks.extend(second.blocks);
        blocks.extend(second.notes);
        Self { blocks, notes: Vec::new() }
    }

    /// Adds a paragraph of plain text at the end.
    pub(in crate::report) fn add_note(&mut self, note: &str) {
        self.notes.push(plain_paragraph(note));
    }

    /// Adds a list of plain texts at the end, under a heading.
    pub(in crate::report) fn add_list(&mut self, heading: &str, items: &[String]) {
        let heading = Inline::Text(heading.to_owned());
        self.notes.push(Block::Heading(2, vec![heading]));
        let items = items.iter().map(|item| vec![plain_paragraph(item)]);
        self.notes.push(Block::List(None, items.collect()));
    }
}

fn plain_paragraph(text: &str) -> Block {
    let mut inlines = Vec::new();
    push_text(&mut inlines, text);
    Block::Paragraph(inlines)
}

/// Adds the lines of a text with a break between them. A tab becomes a space.
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

/// An element whose end the parser has not reported yet.
struct OpenElement {
    kind: ElementKind,
    blocks: Vec<Block>,
    /// If the element is a list: its items that have ended.
    items: Vec<Vec<Block>>,
    inlines: Vec<Inline>,
    /// Text that the next event of the parser may continue.
    text: String,
}

enum ElementKind {
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

/// Builds the blocks of a document from the events of the CommonMark parser.
struct DocumentBuilder<'v> {
    /// The values of the placeholders, in the order of their numbers.
    values: &'v [String],
    /// The elements that have begun and have not ended, with the outermost element first.
    open_elements: Vec<OpenElement>,
    /// For each element that has begun and not ended, whether `open_elements` contains it. It does
    /// not contain an element that is too deep or not supported, and no link that [`web_link`]
    /// refuses.
    is_open: Vec<bool>,
}

impl<'v> DocumentBuilder<'v> {
    fn new(values: &'v [String]) -> Self {
        Self {
            values,
            open_elements: vec![OpenElement::new(ElementKind::Root)],
            is_open: Vec::new(),
        }
    }

    fn handle_event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start_element(tag),
            Event::End(_) if self.is_open.pop().unwrap_or(false) => self.end_element(),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.add_text(&text),
            Event::Code(code) => {
                let code = placeholder::resolve(&code, self.values).replace(['\n', '\t'], " ");
                self.add_inline(Inline::Code(code));
            }
            Event::SoftBreak => self.add_text(" "),
            Event::HardBreak => self.add_inline(Inline::Break),
            Event::Rule => self.add_block(Block::Rule),
            // This is the end of an element that is not in `open_elements`, or an event of an
            // extension that is not enabled.
            _ => {}
        }
    }

    fn start_element(&mut self, tag: Tag<'_>) {
        let kind = match tag {
            Tag::Paragraph | Tag::HtmlBlock => Some(ElementKind::Paragraph),
            Tag::Heading { level, .. } => Some(ElementKind::Heading(level as u8)),
            Tag::CodeBlock(_) => Some(ElementKind::Code),
            Tag::BlockQuote(_) => Some(ElementKind::Quote),
            Tag::List(first) => Some(ElementKind::List(first)),
            Tag::Item => Some(ElementKind::Item),
            Tag::Strong => Some(ElementKind::Strong),
            Tag::Emphasis => Some(ElementKind::Emphasis),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                web_link(&placeholder::resolve(&dest_url, self.values)).map(ElementKind::Link)
            }
            _ => None,
        };
        let kind = kind.filter(|kind| {
            // An item is always added to its list, even if it is nested too deeply.
            let is_in_list = matches!(
                self.open_elements.last(),
                Some(OpenElement { kind: ElementKind::List(_), .. })
            );
            self.open_elements.len() < DEPTH_MAX
                || (is_in_list && matches!(kind, ElementKind::Item))
        });
        self.is_open.push(kind.is_some());
        if let Some(kind) = kind {
            self.flush_text();
            self.open_elements.push(OpenElement::new(kind));
        }
    }

    fn end_element(&mut self) {
        self.flush_text();
        let Some(open) = self.open_elements.pop() else { return };
        match open.kind {
            ElementKind::Root => self.open_elements.push(open),
            ElementKind::Paragraph => self.add_block(Block::Paragraph(open.inlines)),
            ElementKind::Heading(level) => self.add_block(Block::Heading(level, open.inlines)),
            ElementKind::Code => {
                let text = placeholder::resolve(&open.text, self.values);
                self.add_block(Block::Code(text.trim_end_matches('\n').to_owned()));
            }
            ElementKind::Quote => self.add_block(Block::Quote(open.finish())),
            ElementKind::List(first) => self.add_block(Block::List(first, open.items)),
            ElementKind::Item => {
                let item = open.finish();
                if let Some(list) = self.open_elements.last_mut() {
                    list.items.push(item);
                }
            }
            ElementKind::Strong => self.add_inline(Inline::Strong(open.inlines)),
            ElementKind::Emphasis => self.add_inline(Inline::Emphasis(open.inlines)),
            ElementKind::Link(url) => self.add_inline(Inline::Link(url, open.inlines)),
        }
    }

    fn add_text(&mut self, text: &str) {
        if let Some(open) = self.open_elements.last_mut() {
            open.text.push_str(text);
        }
    }

    fn add_inline(&mut self, inline: Inline) {
        self.flush_text();
        if let Some(open) = self.open_elements.last_mut() {
            open.inlines.push(inline);
        }
    }

    fn add_block(&mut self, block: Block) {
        self.flush_text();
        let is_empty = match &block {
            Block::Paragraph(inlines) | Block::Heading(_, inlines) => !has_text(inlines),
            Block::Code(text) => text.trim().is_empty(),
            Block::Quote(blocks) => blocks.is_empty(),
            Block::List(_, items) => items.iter().all(Vec::is_empty),
            Block::Rule => false,
        };
        if let Some(open) = self.open_elements.last_mut().filter(|_| !is_empty) {
            open.end_paragraph();
            open.blocks.push(block);
        }
    }

    /// Moves the collected text of the innermost open element into its inlines, except inside code.
    fn flush_text(&mut self) {
        if let Some(open) = self.open_elements.last_mut()
            && !matches!(open.kind, ElementKind::Code)
        {
            let text = placeholder::resolve(&std::mem::take(&mut open.text), self.values);
            push_text(&mut open.inlines, &text);
        }
    }

    fn finish(mut self) -> Vec<Block> {
        self.flush_text();
        self.open_elements.pop().map(OpenElement::finish).unwrap_or_default()
    }
}

impl OpenElement {
    fn new(kind: ElementKind) -> Self {
        let (blocks, items, inlines) = (Vec::new(), Vec::new(), Vec::new());
        Self { kind, blocks, items, inlines, text: String::new() }
    }

    /// Adds the inlines as a paragraph, because the parser reports no paragraph for an item of a
    /// tight list.
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

fn has_text(inlines: &[Inline]) -> bool {
    inlines.iter().any(|inline| match inline {
        Inline::Text(text) | Inline::Code(text) => !text.trim().is_empty(),
        Inline::Strong(inner) | Inline::Emphasis(inner) | Inline::Link(_, inner) => has_text(inner),
        Inline::Break => false,
    })
}
