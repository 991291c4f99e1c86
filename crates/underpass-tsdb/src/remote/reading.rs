//! Answers made of blocks: what runs on a thread that may wait for a disk.
//!
//! A client cannot be told that an answer is not whole, so a query whose samples cannot all be read
//! fails, unless the operator wants it otherwise.
//!
//! Source: prometheus/storage/remote/read_handler.go.

use std::sync::Arc;

use bytes::Bytes;

use super::blocks::Blocks;
use super::encode::{self, Encoded};
use super::external::ExternalLabels;
use super::frames::{Chunk, Frames};
use super::pieces::{Piece, pieces};
use super::request::{Query, ReadRequest};
use super::samples::Answer;
use super::tally::Tally;
use crate::chunk::Encoding;
use crate::file::Window;
use crate::index::ChunkMeta;
use crate::labels::Labels;
use crate::query::{Loss, Lost, Part, Reader, Selection, Series};
use crate::sample::Samples;
use crate::selector::Selector;
use crate::time::TimeRange;

/// What holds for every request.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) external_labels: ExternalLabels,
    /// The most samples of an answer that is one message.
    pub(super) samples_max: u64,
    /// Whether what is damaged is left out of answers.
    pub(super) skips_damaged: bool,
}

/// Why a request has no answer, or the rest of it does not come.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("{0}")]
    Lost(Box<Loss>),
    #[error(
        "exceeded sample limit ({0}): ask for fewer series or a shorter time, take \
         STREAMED_XOR_CHUNKS, or raise --max-samples"
    )]
    Samples(u64),
    #[error("the answer cannot be packed")]
    Snappy(#[from] snap::Error),
    #[error("the client is gone")]
    Gone,
}

/// A request and what it is answered from.
pub(super) struct Reading {
    pub(super) blocks: Arc<Blocks>,
    pub(super) rules: Arc<Rules>,
    pub(super) request: ReadRequest,
    pub(super) tally: Arc<Tally>,
}

impl Reading {
    /// One message with all samples, packed.
    pub(super) fn samples(&self) -> Result<Vec<Bytes>, ReadError> {
        let (mut answer, mut left) = (Answer::new(), self.rules.samples_max);
        let mut samples = Samples::default();
        for query in &self.request.queries {
            self.each_series(query, |series, labels, reader| {
                samples.clear();
                if !query.is_of_series_alone {
                    self.read_samples(series, reader, &mut samples, &mut left)?;
                }
                self.tally.add_samples(samples.len() as u64);
                Ok(answer.add(labels.iter(), &samples)?)
            })?;
            answer.end_query()?;
        }
        Ok(answer.into_block())
    }

    fn read_samples(
        &self,
        series: &Series,
        reader: &mut Reader<'_>,
        samples: &mut Samples,
        left: &mut u64,
    ) -> Result<(), ReadError> {
        let mut batches = reader.read(series);
        let mut batch = Samples::default();
        while batches.next_into(&mut batch) {
            *left = left
                .checked_sub(batch.len() as u64)
                .ok_or(ReadError::Samples(self.rules.samples_max))?;
            samples.floats.append(&mut batch.floats);
            samples.histograms.append(&mut batch.histograms);
        }
        Ok(())
    }

    /// Frames with chunks, each as soon as it is worth its way.
    pub(super) fn chunks(
        &self,
        mut send: impl FnMut(Bytes) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let mut window = Window::exact();
        for (number, query) in self.request.queries.iter().enumerate() {
            let mut frames = Frames::new(number);
            self.each_series(query, |series, labels, reader| {
                frames.begin(labels.iter());
                if !query.is_of_series_alone {
                    for piece in pieces(series, |part, chunk| self.is_touched(part, chunk)) {
                        self.add(piece, &series.labels, reader, &mut window, &mut frames)?;
                        frames.piece().map_or(Ok(()), &mut send)?;
                    }
                }
                frames.end(query.is_of_series_alone);
                frames.piece().map_or(Ok(()), &mut send)
            })?;
            let rest = frames.rest();
            if !rest.is_empty() {
                send(rest)?;
            }
        }
        Ok(())
    }

    /// Calls `visit` with each series of a query, and the labels that clients see.
    fn each_series(
        &self,
        query: &Query,
        mut visit: impl FnMut(&Series, &Labels, &mut Reader<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        if let Some(damage) = self.blocks.unopened.first().filter(|_| !self.rules.skips_damaged) {
            let (labels, range) = (None, TimeRange::ALL);
            let loss = Loss { damage: damage.clone(), lost: Some(Lost { labels, range }) };
            return Err(ReadError::Lost(Box::new(loss)));
        }
        let external = &self.rules.external_labels;
        let (within, is_part) = external.within(&query.matchers);
        let whole = is_part.then(|| Selector::new(query.matchers.clone()));
        let range = TimeRange { min: *query.times.start(), max: *query.times.end() };
        let blocks = &self.blocks.blocks;
        let selection = Selection::new(blocks, vec![Selector::new(within)], range);
        let (mut merged, mut reader) = (selection.series(), selection.reader());
        let (mut series, mut labels) = (Series::default(), Labels::default());
        while merged.next_into(&mut series) {
            self.settle(merged.take_losses())?;
            let labels = external.add(&series.labels, &mut labels);
            if whole.as_ref().is_none_or(|selector| selector.matches(labels)) {
                visit(&series, labels, &mut reader)?;
                self.settle(reader.take_losses())?;
                self.tally.add_series();
            }
        }
        self.settle(merged.take_losses())
    }

    /// Fails where samples are lost, unless those are to be left out.
    fn settle(&self, losses: Vec<Loss>) -> Result<(), ReadError> {
        for loss in losses {
            self.blocks.tell(&loss);
            if loss.lost.is_some() {
                self.tally.add_loss();
                if !self.rules.skips_damaged {
                    return Err(ReadError::Lost(Box::new(loss)));
                }
            }
        }
        Ok(())
    }

    fn is_touched(&self, part: &Part, chunk: &ChunkMeta) -> bool {
        let times = TimeRange { min: chunk.min_time, max: chunk.max_time };
        let deleted =
            self.blocks.blocks.get(part.block).map(|block| block.tombstones().of(part.id));
        deleted.unwrap_or_default().iter().any(|gone| times.overlaps(gone.min, gone.max))
    }

    fn add(
        &self,
        piece: Piece,
        labels: &Labels,
        reader: &mut Reader<'_>,
        window: &mut Window,
        frames: &mut Frames,
    ) -> Result<(), ReadError> {
        let parts = match piece {
            Piece::Whole { block, chunk, .. } if self.add_whole(block, chunk, window, frames) => {
                return Ok(());
            }
            Piece::Whole { block, id, chunk } => vec![Part { block, id, chunks: vec![chunk] }],
            Piece::Mixed(parts) => parts,
        };
        self.add_mixed(&Series { labels: labels.clone(), parts }, reader, frames);
        self.settle(reader.take_losses())
    }

    /// A chunk as it is in its file. `false` if it is damaged, or of an encoding that not every
    /// client knows: then its samples have to be read.
    fn add_whole(
        &self,
        block: usize,
        chunk: ChunkMeta,
        window: &mut Window,
        frames: &mut Frames,
    ) -> bool {
        let ChunkMeta { min_time, max_time, reference } = chunk;
        let block = self.blocks.blocks.get(block);
        let Some(Ok(raw)) = block.map(|block| block.chunk(reference, window)) else { return false };
        let is_known = Encoding::try_from(raw.encoding).is_ok_and(is_known_to_clients);
        // Clients read the count of samples without a look at the length.
        if !is_known || raw.data.len() < 2 {
            return false;
        }
        frames.add(Chunk { min_time, max_time, encoding: raw.encoding, data: raw.data });
        self.tally.add_whole();
        true
    }

    /// Chunks of samples that have to be read.
    fn add_mixed(&self, series: &Series, reader: &mut Reader<'_>, frames: &mut Frames) {
        let mut batches = reader.read(series);
        let mut samples = Samples::default();
        while batches.next_into(&mut samples) {
            encode::samples(&samples, |chunk| {
                let Encoded { min_time, max_time, encoding, ref data } = chunk;
                frames.add(Chunk { min_time, max_time, encoding: encoding.byte(), data });
                self.tally.add_encoded();
            });
        }
    }
}

/// Prometheus knows these since 2.40; a client does not say whether it knows more.
const fn is_known_to_clients(encoding: Encoding) -> bool {
    match encoding {
        Encoding::Xor | Encoding::Histogram | Encoding::FloatHistogram => true,
        Encoding::Xor2 | Encoding::HistogramSt | Encoding::FloatHistogramSt => false,
    }
}
