package engine

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mypatients/fhir"
)

// Bounds of a batch and of a source that is read as a whole.
const (
	batchLines = 64
	batchBytes = 256 << 10
	maxBundle  = 512 << 20
)

// A file is one source of a load.
type file struct {
	path   string
	size   int64
	found  bool // in a folder, not named
	bundle bool // JSON, not NDJSON
}

// Load imports files and folders: NDJSON (.ndjson, .jsonl), Bundles and single
// resources (.json), each also compressed (.gz). Of folders it takes all such
// files, however deep; NDJSON goes first, so that the conditional references of
// Bundles find what they look for. The error is of what broke the import off;
// what was refused is in the report.
func (l *Loader) Load(ctx context.Context, paths ...string) (LoadReport, error) {
	files, err := listFiles(paths)
	if err != nil {
		return l.report, err
	}
	l.total = 0
	for _, f := range files {
		l.total += f.size
	}
	l.read.Store(0)
	split := slices.IndexFunc(files, func(f file) bool { return f.bundle })
	if split < 0 {
		split = len(files)
	}
	err = l.feed(ctx, func(ctx context.Context, send func(*batch) error) error {
		for _, f := range files[:split] {
			err := l.open(f, func(r io.Reader) error { return l.lines(f.path, r, send) })
			var unreadable *sourceError
			if errors.As(err, &unreadable) {
				err = send(&batch{source: f.path, lines: []line{{err: unreadable.err}}, offset: l.read.Load()})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	for _, f := range files[split:] {
		if err != nil {
			break
		}
		err = l.open(f, func(r io.Reader) error { return l.bundle(ctx, f, r) })
		var unreadable *sourceError
		if errors.As(err, &unreadable) {
			l.refuse(f.path, 0, unreadable.err)
			err = nil
		}
		l.progress(l.read.Load())
	}
	return l.report, err
}

// LoadNDJSON imports lines from a reader; name stands for it in refusals.
func (l *Loader) LoadNDJSON(ctx context.Context, name string, r io.Reader) error {
	return l.feed(ctx, func(_ context.Context, send func(*batch) error) error {
		return l.lines(name, &counter{r: r, l: l}, send)
	})
}

// LoadBundle imports a Bundle, or a single resource, from a reader.
func (l *Loader) LoadBundle(ctx context.Context, name string, r io.Reader) error {
	return l.bundle(ctx, file{path: name, bundle: true}, &counter{r: r, l: l})
}

func listFiles(paths []string) ([]file, error) {
	var files []file
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			is, bundle := kindOf(path)
			if !is {
				return nil, fmt.Errorf("%s: not .ndjson, .jsonl or .json (nor one of these and .gz)", path)
			}
			files = append(files, file{path, info.Size(), false, bundle})
			continue
		}
		err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			is, bundle := kindOf(name)
			if !is {
				return nil
			}
			info, err := d.Info()
			if err == nil && info.Mode().IsRegular() {
				files = append(files, file{name, info.Size(), true, bundle})
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(files, func(a, b file) int {
		switch {
		case a.bundle == b.bundle:
			return 0
		case b.bundle:
			return -1
		}
		return 1
	})
	return files, nil
}

func kindOf(path string) (is, bundle bool) {
	switch filepath.Ext(strings.TrimSuffix(strings.ToLower(path), ".gz")) {
	case ".ndjson", ".jsonl":
		return true, false
	case ".json":
		return true, true
	}
	return false, false
}

// A sourceError says that a source cannot be read: it is refused as a whole, and
// the import goes on.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }

// open gives the content of a file, unpacked.
func (l *Loader) open(f file, use func(io.Reader) error) error {
	in, err := os.Open(f.path)
	if err != nil {
		return &sourceError{err}
	}
	defer in.Close()
	start := l.read.Load()
	defer func() { l.read.Store(start + f.size) }()
	var r io.Reader = &counter{r: in, l: l}
	if strings.HasSuffix(strings.ToLower(f.path), ".gz") {
		unpacked, err := gzip.NewReader(r)
		if err != nil {
			return &sourceError{err}
		}
		r = unpacked
	}
	return use(r)
}

// A counter counts what is read of the sources.
type counter struct {
	r io.Reader
	l *Loader
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.l.read.Add(int64(n))
	return n, err
}

// lines cuts a source into batches. Empty lines are nothing; the numbers count
// them.
func (l *Loader) lines(source string, r io.Reader, send func(*batch) error) error {
	in := bufio.NewReaderSize(r, 256<<10)
	b, size := &batch{source: source}, 0
	start, consumed := l.read.Load(), int64(0)
	_, plain := r.(*counter)
	flush := func() error {
		if len(b.lines) == 0 {
			return nil
		}
		if b.offset = start + consumed; !plain {
			b.offset = l.read.Load() // as far as one can tell
		}
		b.bytes = size
		full := b
		b, size = &batch{source: source}, 0
		return send(full)
	}
	for number := 1; ; number++ {
		raw, length, err := readLine(in)
		consumed += length
		if len(bytes.TrimSpace(raw)) > 0 || errors.Is(err, errLongLine) {
			one := line{number: number, raw: raw}
			if errors.Is(err, errLongLine) {
				one.err = fhir.Errorf(fhir.TooBig, "The line is longer than %d MB.", fhir.MaxBody>>20)
			}
			b.lines = append(b.lines, one)
			size += len(raw)
		}
		if err != nil && err != io.EOF && !errors.Is(err, errLongLine) {
			b.lines = append(b.lines, line{number: number, err: err})
			return flush()
		}
		if err == io.EOF {
			return flush()
		}
		if len(b.lines) >= batchLines || size >= batchBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}

var errLongLine = errors.New("line too long")

// readLine gives one line in memory of its own, and its length. Of one that is too
// long it reads on to the end and gives errLongLine; a last line without an end
// comes with io.EOF.
func readLine(in *bufio.Reader) (out []byte, length int64, err error) {
	long := false
	for {
		part, err := in.ReadSlice('\n')
		length += int64(len(part))
		if len(out)+len(part) > fhir.MaxBody {
			long, out = true, nil
		}
		if !long {
			out = append(out, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && err != io.EOF:
			return nil, length, err
		case long:
			return nil, length, errLongLine
		}
		return out, length, err
	}
}
