//! A run of series made into columns, by one thread.

use std::sync::Arc;

use crate::labels::Labels;
use crate::query::{Loss, Reader, Series};
use crate::sample::Samples;

use super::ColumnsError;
use super::encoder::{Encoded, Encoder, Encoding};
use super::float_rows::FloatRows;
use super::histogram_rows::HistogramRows;
use super::series_rows::Written;

/// The encoders of the tables with samples that are wanted.
#[derive(Debug, Clone)]
pub(super) struct Encoders {
    pub(super) floats: Option<Arc<Encoder>>,
    pub(super) histograms: Option<Arc<Encoder>>,
}

/// Something for the tables.
pub(super) enum Piece {
    Floats(Encoded),
    Histograms(Encoded),
    Series { number: u32, labels: Labels, written: Written },
    Loss(Loss),
}

/// What takes pieces.
pub(super) type Deliver<'d> = dyn FnMut(Piece) -> Result<(), ColumnsError> + 'd;

/// Encodes series, one after the other.
#[derive(Debug)]
pub(super) struct Run {
    samples: Samples,
    floats: Option<Encoding<FloatRows>>,
    histograms: Option<Encoding<HistogramRows>>,
}

impl Run {
    pub(super) fn new(encoders: &Encoders) -> Self {
        let Encoders { floats, histograms } = encoders.clone();
        Self {
            samples: Samples::default(),
            floats: floats.map(|encoder| Encoding::new(FloatRows::new(), encoder)),
            histograms: histograms.map(|encoder| Encoding::new(HistogramRows::new(), encoder)),
        }
    }

    /// Encodes the samples of a series, which has this number in all tables.
    pub(super) fn add(
        &mut self,
        number: u32,
        series: Series,
        reader: &mut Reader<'_>,
        deliver: &mut Deliver<'_>,
    ) -> Result<(), ColumnsError> {
        let mut written = Written::default();
        let mut batches = reader.read(&series);
        while batches.next_into(&mut self.samples) {
            written.add(&self.samples);
            self.add_samples(number, deliver)?;
        }
        deliver(Piece::Series { number, labels: series.labels, written })?;
        reader.take_losses().into_iter().map(Piece::Loss).try_for_each(deliver)
    }

    fn add_samples(&mut self, number: u32, deliver: &mut Deliver<'_>) -> Result<(), ColumnsError> {
        if let Some(floats) = &mut self.floats {
            let mut rest = &self.samples.floats[..];
            while !rest.is_empty() {
                rest = floats.rows.fill(number, rest);
                floats.encode_if_full(&mut |rows| deliver(Piece::Floats(rows)))?;
            }
        }
        if let Some(histograms) = &mut self.histograms {
            for sample in &self.samples.histograms {
                histograms.rows.push(number, sample);
                histograms.encode_if_full(&mut |rows| deliver(Piece::Histograms(rows)))?;
            }
        }
        Ok(())
    }

    /// Encodes what is left. A row group ends here.
    pub(super) fn finish(&mut self, deliver: &mut Deliver<'_>) -> Result<(), ColumnsError> {
        if let Some(floats) = &mut self.floats {
            floats.finish(&mut |rows| deliver(Piece::Floats(rows)))?;
        }
        if let Some(histograms) = &mut self.histograms {
            histograms.finish(&mut |rows| deliver(Piece::Histograms(rows)))?;
        }
        Ok(())
    }
}
