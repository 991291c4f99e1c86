// Makes chunks.txt: chunks as Prometheus' own library writes them, and the samples that it reads back.
//
//	go mod init vectors
//	go get github.com/prometheus/prometheus@v0.314.0
//	go run . >chunks.txt
//
//	go run . buckets >buckets.txt
//	go run . head >head.txt
//
// With a number as its argument it makes that many random chunks of each encoding instead.
package main

import (
	"fmt"
	"math"
	"math/rand"
	"os"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

var stale = math.Float64frombits(value.StaleNaN)

type sample struct {
	st, t int64
	v     float64
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func newChunk(e chunkenc.Encoding) chunkenc.Chunk {
	switch e {
	case chunkenc.EncXOR:
		return chunkenc.NewXORChunk()
	case chunkenc.EncXOR2:
		return chunkenc.NewXOR2Chunk()
	case chunkenc.EncHistogram:
		return chunkenc.NewHistogramChunk()
	case chunkenc.EncFloatHistogram:
		return chunkenc.NewFloatHistogramChunk()
	case chunkenc.EncHistogramST:
		return chunkenc.NewHistogramSTChunk()
	}
	return chunkenc.NewFloatHistogramSTChunk()
}

func bits(v float64) string { return fmt.Sprintf("%016x", math.Float64bits(v)) }

func list[T any](items []T, text func(T) string) string {
	var parts []string
	for _, item := range items {
		parts = append(parts, text(item))
	}
	return "[" + strings.Join(parts, " ") + "]"
}

func spans(s []histogram.Span) string {
	return list(s, func(s histogram.Span) string { return fmt.Sprintf("%d:%d", s.Offset, s.Length) })
}

func hint(h histogram.CounterResetHint) string {
	return [...]string{"Unknown", "Reset", "NoReset", "Gauge"}[h]
}

func integer(i int64) string { return strconv.FormatInt(i, 10) }

// A chunk as lines of text: its name, its bytes, and what an iterator of Prometheus gives.
func write(name string, c chunkenc.Chunk) {
	fmt.Printf("chunk %s\nencoding %d\nbytes %x\n", name, c.Encoding(), c.Bytes())
	it := c.Iterator(nil)
	for {
		switch it.Next() {
		case chunkenc.ValNone:
			check(it.Err())
			fmt.Println()
			return
		case chunkenc.ValFloat:
			t, v := it.At()
			fmt.Printf("%d %s\n", t, bits(v))
		case chunkenc.ValHistogram:
			t, h := it.AtHistogram(nil)
			fmt.Printf("%d %s %d %s %s %s %s %s %d %d %s %s\n", t, hint(h.CounterResetHint), h.Schema,
				bits(h.ZeroThreshold), spans(h.PositiveSpans), spans(h.NegativeSpans),
				list(h.CustomValues, bits), bits(h.Sum), h.Count, h.ZeroCount,
				list(h.PositiveBuckets, integer), list(h.NegativeBuckets, integer))
		case chunkenc.ValFloatHistogram:
			t, h := it.AtFloatHistogram(nil)
			fmt.Printf("%d %s %d %s %s %s %s %s %s %s %s %s\n", t, hint(h.CounterResetHint), h.Schema,
				bits(h.ZeroThreshold), spans(h.PositiveSpans), spans(h.NegativeSpans),
				list(h.CustomValues, bits), bits(h.Sum), bits(h.Count), bits(h.ZeroCount),
				list(h.PositiveBuckets, bits), list(h.NegativeBuckets, bits))
		}
	}
}

// Appends floats; before those whose index is in again, the writer starts again from the bytes.
func floats(name string, e chunkenc.Encoding, samples []sample, again ...int) {
	c := newChunk(e)
	a, err := c.Appender()
	check(err)
	for i, s := range samples {
		for _, at := range again {
			if at == i {
				a, err = c.Appender()
				check(err)
			}
		}
		a.Append(s.st, s.t, s.v)
	}
	write(name, c)
}

// Times whose second difference is each of these, a difference of 0 between them.
func borders(changes ...int64) []sample {
	samples := []sample{{t: 1_700_000_000_000, v: 1}, {t: 1_700_000_015_000, v: 1}}
	distance := int64(15_000)
	for _, change := range changes {
		for _, c := range []int64{change, 0, -change} {
			distance += c
			samples = append(samples, sample{t: samples[len(samples)-1].t + distance, v: 1})
		}
	}
	return samples
}

func valued(values ...float64) []sample {
	var samples []sample
	for i, v := range values {
		samples = append(samples, sample{t: int64(i) * 1000, v: v})
	}
	return samples
}

var odd = []float64{
	1, 1, 2, 3, -3, 0.1, 0.2, 0.30000000000000004, 1e300, 5e-324, 0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1),
	math.NaN(), stale, stale, 7, math.MaxFloat64, 100, 101, 102, 101, 1e6, math.Float64frombits(0xffffffffffffffff), 0,
	math.Float64frombits(1), math.Float64frombits(0x8000000000000000), math.Float64frombits(0x00000001ffffffff), 12.5,
}

// Start times: none, then from sample `from` on one that changes at times.
func started(from, count int, known bool) []sample {
	var samples []sample
	for i := range count {
		s := sample{t: int64(i) * 15_000, v: float64(i / 3)}
		if known {
			s.st = -7
		}
		if i >= from {
			s.st = int64(i/4) * 31
		}
		samples = append(samples, s)
	}
	return samples
}

func walk(r *rand.Rand, count int) []sample {
	samples := []sample{}
	t, v, st := r.Int63n(2_000_000_000_000)-100, float64(r.Intn(1000)), int64(0)
	for range count {
		switch r.Intn(8) {
		case 0:
			t += int64(r.ExpFloat64() * 1e5)
		case 1:
			t -= int64(r.Intn(9000))
		case 2, 3:
			t += 15_000 + int64(r.Intn(7)) - 3
		default:
			t += 15_000
		}
		switch r.Intn(8) {
		case 0:
			v = r.NormFloat64()
		case 1:
			v = math.Float64frombits(r.Uint64())
		case 2:
			v = stale
		case 3, 4:
			v += float64(r.Intn(100))
		}
		if r.Intn(20) == 0 {
			st = t - r.Int63n(100_000)
		}
		samples = append(samples, sample{st, t, v})
	}
	return samples
}

// Appends histograms; a chunk is written where Prometheus begins another.
func histograms(name string, e chunkenc.Encoding, st []int64, all []*histogram.Histogram) {
	c := newChunk(e)
	a, err := c.Appender()
	check(err)
	for i, h := range all {
		t := 1_700_000_000_000 + int64(i)*15_000 + int64(i*i)
		started := int64(0)
		if len(st) > 0 {
			started = st[i%len(st)]
		}
		var next chunkenc.Chunk
		var recoded bool
		if e == chunkenc.EncFloatHistogram || e == chunkenc.EncFloatHistogramST {
			f := h.ToFloat(nil)
			f.Count *= 1.25
			for i := range f.PositiveBuckets {
				f.PositiveBuckets[i] *= 1.25
			}
			next, recoded, a, err = a.AppendFloatHistogram(nil, started, t, f, false)
		} else {
			next, recoded, a, err = a.AppendHistogram(nil, started, t, h.Copy(), false)
		}
		check(err)
		if next != nil {
			if !recoded {
				write(name+"-before-"+strconv.Itoa(i), c)
			}
			c = next
		}
	}
	write(name, c)
}

func exponential(count uint64, sum float64, threshold float64, zero uint64, positive, negative []int64) *histogram.Histogram {
	h := &histogram.Histogram{Schema: 3, Count: count, Sum: sum, ZeroThreshold: threshold, ZeroCount: zero}
	if len(positive) > 0 {
		h.PositiveSpans = []histogram.Span{{Offset: -2, Length: 1}, {Offset: 3, Length: uint32(len(positive) - 1)}}
		h.PositiveBuckets = positive
	}
	if len(negative) > 0 {
		h.NegativeSpans = []histogram.Span{{Offset: 40, Length: uint32(len(negative))}}
		h.NegativeBuckets = negative
	}
	return h
}

func custom(count uint64, buckets ...int64) *histogram.Histogram {
	return &histogram.Histogram{
		Schema: histogram.CustomBucketsSchema, Count: count, Sum: float64(count) / 8,
		CustomValues:    []float64{-1, 0, 0.005, 1, 33554.43, 33554.431, 1e10},
		PositiveSpans:   []histogram.Span{{Offset: 1, Length: uint32(len(buckets))}},
		PositiveBuckets: buckets,
	}
}

func marked(h *histogram.Histogram, hint histogram.CounterResetHint) *histogram.Histogram {
	h.CounterResetHint = hint
	return h
}

func growing() []*histogram.Histogram {
	return []*histogram.Histogram{
		exponential(10, 12.5, 0x1p-128, 1, []int64{2, 1, -1}, []int64{1, 1}),
		exponential(20, 22.5, 0x1p-128, 1, []int64{4, 1, -2}, []int64{3, 4}),
		exponential(29, 23.75, 0x1p-128, 3, []int64{5, 2, -2}, []int64{4, 4}),
		exponential(1_000_000, -1e9, 0x1p-128, 40, []int64{300_000, 20, -400}, []int64{5, 300}),
		exponential(1<<40, math.Inf(1), 0x1p-128, 40, []int64{1 << 39, 20, -400}, []int64{1 << 30, 300}),
		exponential(1<<62, 3, 0x1p-128, 1<<61, []int64{1 << 60, 20, -400}, []int64{1 << 60, 300}),
	}
}

func scenarios() {
	for _, e := range []chunkenc.Encoding{chunkenc.EncXOR, chunkenc.EncXOR2} {
		floats("empty", e, nil)
		floats("one", e, []sample{{t: -1, v: 1.5}})
		floats("one-at-the-start-of-time", e, []sample{{t: math.MinInt64, v: stale}})
		floats("two-far-apart", e, []sample{{t: math.MinInt64, v: 1}, {t: math.MaxInt64, v: 2}})
		floats("distances-of-xor", e, borders(1, 2, 8191, 8192, 8193, 65535, 65536, 65537, 524287, 524288, 524289, 1<<40, math.MaxInt64/4))
		floats("distances-of-xor2", e, borders(4095, 4096, 4097, 524287, 524288, 524289))
		floats("values", e, valued(odd...))
		floats("stale-first", e, valued(stale, stale, 1, stale, 1, 2))
		floats("written-again", e, valued(5, 5, 5, 5.25, 5.5, 6, 6, 1e9, 3), 3, 6)
		floats("walk", e, walk(rand.New(rand.NewSource(1)), 120))
	}
	floats("start-known", chunkenc.EncXOR2, started(99, 6, true))
	for _, from := range []int{0, 1, 2, 5} {
		floats("starts-from-"+strconv.Itoa(from), chunkenc.EncXOR2, started(from, 14, false))
	}
	floats("starts-known-and-from-3", chunkenc.EncXOR2, started(3, 9, true))
	floats("starts-never", chunkenc.EncXOR2, started(999, 131, true))
	for _, e := range []chunkenc.Encoding{chunkenc.EncHistogram, chunkenc.EncFloatHistogram, chunkenc.EncHistogramST, chunkenc.EncFloatHistogramST} {
		var sts []int64
		if e == chunkenc.EncHistogramST || e == chunkenc.EncFloatHistogramST {
			sts = []int64{1_699_999_999_000, 1_699_999_999_000, 1_699_999_999_000, 5, 1_700_000_001_000}
		}
		histograms("growing", e, sts, growing())
		for i, threshold := range []float64{0, 0x1p-243, 0x1p-244, 0x1p10, 0x1p11, 0.3} {
			histograms("threshold-"+strconv.Itoa(i), e, sts, []*histogram.Histogram{exponential(3, 1, threshold, 0, []int64{1, 1}, nil)})
		}
		for i, schema := range []int32{-4, 8} {
			h := exponential(3, 1, 0.5, 0, []int64{1, 1}, nil)
			h.Schema = schema
			histograms("schema-"+strconv.Itoa(i), e, sts, []*histogram.Histogram{h})
		}
		histograms("empty-buckets", e, sts, []*histogram.Histogram{{Schema: 1, Sum: 1}, {Schema: 1, Sum: 1}})
		histograms("custom", e, sts, []*histogram.Histogram{custom(8, 3, 1, -3), custom(9, 3, 1, -2), custom(18, 6, 2, -4)})
		histograms("stale-end", e, sts, append(growing()[:3], &histogram.Histogram{Sum: stale}, &histogram.Histogram{Sum: stale}))
		histograms("stale-alone", e, sts, []*histogram.Histogram{{Sum: stale}})
		histograms("reset", e, sts, append(growing()[:3], growing()[:2]...))
		histograms("hint-reset", e, sts, []*histogram.Histogram{marked(growing()[0], histogram.CounterReset), growing()[1]})
		histograms("gauge", e, sts, []*histogram.Histogram{
			marked(growing()[2], histogram.GaugeType), marked(growing()[0], histogram.GaugeType),
			marked(exponential(2, -2, 0x1p-128, 0, nil, []int64{2}), histogram.GaugeType),
			marked(growing()[3], histogram.GaugeType),
		})
	}
}

func random(count int) {
	r := rand.New(rand.NewSource(2))
	for i := range count {
		name := strconv.Itoa(i)
		samples := walk(r, 1+r.Intn(200))
		for _, e := range []chunkenc.Encoding{chunkenc.EncXOR, chunkenc.EncXOR2} {
			floats(name, e, samples, r.Intn(200), r.Intn(200))
		}
		for _, e := range []chunkenc.Encoding{chunkenc.EncHistogram, chunkenc.EncFloatHistogram, chunkenc.EncHistogramST, chunkenc.EncFloatHistogramST} {
			var all []*histogram.Histogram
			var sts []int64
			positive, negative := make([]int64, 1+r.Intn(12)), make([]int64, r.Intn(5))
			count := uint64(1000)
			for range 1 + r.Intn(140) {
				for _, buckets := range [][]int64{positive, negative} {
					for i := range buckets {
						buckets[i] += int64(r.ExpFloat64() * float64(int64(1)<<r.Intn(30)))
					}
				}
				count += uint64(r.Intn(1 << 20))
				h := exponential(count, r.NormFloat64(), 0.001, uint64(len(all)), append([]int64{}, positive...), append([]int64{}, negative...))
				all = append(all, marked(h, histogram.GaugeType))
				sts = append(sts, r.Int63n(3)*r.Int63n(1000))
			}
			histograms(name, e, sts, all)
		}
	}
}

// A line a bucket: its schema and index, then its bounds.
func buckets() {
	for schema := histogram.ExponentialSchemaMin; schema <= histogram.ExponentialSchemaMax; schema++ {
		// The exponents of 2 around which there is something to see, and steps to either side.
		for _, exponent := range []int{-1076, -1074, -1073, -1022, -1, 0, 1, 10, 1023, 1024, 1025} {
			for _, step := range []int{-100, -1, 0, 1, 2, 77} {
				index := exponent >> -min(schema, 0) << max(schema, 0)
				h := histogram.Histogram{
					Schema:          schema,
					PositiveSpans:   []histogram.Span{{Offset: int32(index + step), Length: 1}},
					PositiveBuckets: []int64{1},
				}
				it := h.PositiveBucketIterator()
				it.Next()
				b := it.At()
				fmt.Printf("%d %d %s %s\n", schema, b.Index, bits(b.Lower), bits(b.Upper))
			}
		}
	}
}

// A file of chunks_head, without the zeros behind its last chunk but some.
func head() {
	dir, err := os.MkdirTemp("", "")
	check(err)
	defer os.RemoveAll(dir)
	mapper, err := chunks.NewChunkDiskMapper(nil, dir, chunkenc.NewPool(), chunks.DefaultWriteBufferSize, 0)
	check(err)
	for i, e := range []chunkenc.Encoding{chunkenc.EncXOR, chunkenc.EncXOR2, chunkenc.EncXOR} {
		c := newChunk(e)
		a, err := c.Appender()
		check(err)
		for j := range int64(3 + 40*i) {
			a.Append(0, 1_700_000_000_000+15_000*j, float64(j)/8)
		}
		max := 1_700_000_000_000 + 15_000*int64(2+40*i)
		mapper.WriteChunk(chunks.HeadSeriesRef(7+i), 1_700_000_000_000, max, c, i == 2, check)
	}
	check(mapper.Close())
	file, err := os.ReadFile(dir + "/000001")
	check(err)
	fmt.Printf("%x\n", append([]byte(strings.TrimRight(string(file), "\x00")), make([]byte, 50)...))
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "buckets" {
		buckets()
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "head" {
		head()
		return
	}
	if len(os.Args) > 1 {
		count, err := strconv.Atoi(os.Args[1])
		check(err)
		random(count)
		return
	}
	fmt.Printf("# By tests/vectors/main.go with github.com/prometheus/prometheus v0.314.0.\n\n")
	scenarios()
}
