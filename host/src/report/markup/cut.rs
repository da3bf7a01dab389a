//! Cuts a document so that its rendered text has at most a given number of characters.
//!
//! Cuts the parsed document and not the rendered text, so the result is valid in each markup. The
//! notes are kept, unless they alone are too long.

use super::document::{Block, Document, Inline};

const ELLIPSIS: &str = "…";

/// Finds the longest beginning of the document that `render` accepts; `None` if it accepts none.
pub(super) fn longest(
    document: &Document,
    render: impl Fn(Document) -> Option<String>,
) -> Option<String> {
    if let Some(whole) = render(document.clone()) {
        return Some(whole);
    }
    let notes_fit = render(beginning(document, 0)).is_some();
    let document = if notes_fit { document } else { &Document::join(None, document.clone()) };
    let (mut fits, mut too_long) = (0, size(&document.blocks) + 1);
    let mut best = render(beginning(document, 0)).or_else(|| render(Document::default()))?;
    while too_long - fits > 1 {
        let middle = fits + (too_long - fits) / 2;
        match render(beginning(document, middle)) {
            Some(text) => (fits, best) = (middle, text),
            None => too_long = middle,
        }
    }
    Some(best)
}

/// The document's first characters, then an ellipsis.
fn beginning(document: &Document, characters: usize) -> Document {
    let mut space = RemainingSpace { characters, is_cut: false };
    let mut blocks = space.blocks(&document.blocks);
    if !space.is_cut {
        blocks.push(Block::Paragraph(vec![Inline::Text(ELLIPSIS.to_owned())]));
    }
    Document { blocks, notes: document.notes.clone() }
}

/// How many characters a document has; each block and each break counts as one more.
fn size(blocks: &[Block]) -> usize {
    blocks.iter().map(|block| 1 + block_size(block)).sum()
}

fn block_size(block: &Block) -> usize {
    match block {
        Block::Paragraph(inlines) | Block::Heading(_, inlines) => inline_size(inlines),
        Block::Code(text) => text.chars().count(),
        Block::Quote(blocks) => size(blocks),
        Block::List(_, items) => items.iter().map(|item| size(item)).sum(),
        Block::Rule => 0,
    }
}

fn inline_size(inlines: &[Inline]) -> usize {
    let size = |inline: &Inline| match inline {
        Inline::Text(text) | Inline::Code(text) => text.chars().count(),
        Inline::Strong(inner) | Inline::Emphasis(inner) | Inline::Link(_, inner) => {
            inline_size(inner)
        }
        Inline::Break => 1,
    };
    inlines.iter().map(size).sum()
}

/// The part of the limit that is not used yet, while a document is cut.
struct RemainingSpace {
    characters: usize,
    /// Whether the ellipsis was written; nothing may follow it.
    is_cut: bool,
}

impl RemainingSpace {
    fn blocks(&mut self, blocks: &[Block]) -> Vec<Block> {
        let mut taken = Vec::new();
        for block in blocks {
            if self.is_cut {
                break;
            }
            if !self.take_one() {
                taken.push(Block::Paragraph(vec![Inline::Text(ELLIPSIS.to_owned())]));
                break;
            }
            taken.push(match block {
                Block::Paragraph(inlines) => Block::Paragraph(self.inlines(inlines)),
                Block::Heading(level, inlines) => Block::Heading(*level, self.inlines(inlines)),
                Block::Code(text) => Block::Code(self.text(text)),
                Block::Quote(blocks) => Block::Quote(self.blocks(blocks)),
                Block::List(first, items) => Block::List(*first, self.items(items)),
                Block::Rule => Block::Rule,
            });
        }
        taken
    }

    fn items(&mut self, items: &[Vec<Block>]) -> Vec<Vec<Block>> {
        let mut taken = Vec::new();
        for item in items {
            if self.is_cut {
                break;
            }
            taken.push(self.blocks(item));
        }
        taken
    }

    fn inlines(&mut self, inlines: &[Inline]) -> Vec<Inline> {
        let mut taken = Vec::new();
        for inline in inlines {
            if self.is_cut {
                break;
            }
            taken.push(match inline {
                Inline::Text(text) => Inline::Text(self.text(text)),
                Inline::Code(text) => Inline::Code(self.text(text)),
                Inline::Strong(inner) => Inline::Strong(self.inlines(inner)),
                Inline::Emphasis(inner) => Inline::Emphasis(self.inlines(inner)),
                Inline::Link(url, inner) => Inline::Link(url.clone(), self.inlines(inner)),
                Inline::Break if self.take_one() => Inline::Break,
                Inline::Break => Inline::Text(ELLIPSIS.to_owned()),
            });
        }
        taken
    }

    fn text(&mut self, text: &str) -> String {
        let length = text.chars().count();
        if length <= self.characters {
            self.characters -= length;
            return text.to_owned();
        }
        let kept: String = text.chars().take(self.characters).collect();
        (self.characters, self.is_cut) = (0, true);
        kept + ELLIPSIS
    }

    /// Counts a block or a break as one character.
    fn take_one(&mut self) -> bool {
        self.is_cut |= self.characters == 0;
        self.characters = self.characters.saturating_sub(1);
        !self.is_cut
    }
}
