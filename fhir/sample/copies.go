// Package sample makes test data of any size out of little: copies of records
// under new ids, as NDJSON to be imported ([Copies]) or straight into a store
// ([Grow]). What is made is the same each time. Only tests and benchmarks use it.
package sample

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"strings"
)

// Copies writes the lines of NDJSON files (.ndjson or .ndjson.gz), all of them as
// they are, then again and again under new ids, until at least size bytes are
// written, and gives the number of lines. The ids must be UUIDs; each copy changes
// all UUIDs of a line in the same way, so references stay within the copy.
func Copies(w io.Writer, size int64, files ...string) (lines int, err error) {
	if len(files) == 0 {
		return 0, errors.New("sample: no files to copy")
	}
	out := &limited{w: bufio.NewWriterSize(w, 1<<20), left: size}
	for copied := uint32(0); out.left > 0; copied++ {
		for _, name := range files {
			if err := copyFile(out, name, copied); err != nil {
				return out.lines, err
			}
			if out.left <= 0 {
				break
			}
		}
	}
	return out.lines, out.w.Flush()
}

// limited counts what is written.
type limited struct {
	w     *bufio.Writer
	left  int64
	lines int
}

func copyFile(out *limited, name string, copied uint32) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	var r io.Reader = file
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(file); err != nil {
			return err
		}
	}
	in := bufio.NewReaderSize(r, 1<<20)
	for out.left > 0 {
		line, err := in.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			Renew(line, copied)
			n, err := out.w.Write(line)
			if err != nil {
				return err
			}
			out.left -= int64(n)
			out.lines++
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Renew changes all UUIDs in a text, each number in another way; 0 changes none.
func Renew(text []byte, number uint32) {
	if number == 0 {
		return
	}
	mask := number * 0x9e3779b1
	for at := 0; ; {
		i := bytes.IndexByte(text[at:], '-')
		if i < 0 {
			return
		}
		at += i
		if !isUUID(text, at-8) {
			at++
			continue
		}
		for k := range 8 {
			const digits = "0123456789abcdef"
			c := &text[at-8+k]
			*c = digits[uint32(strings.IndexByte(digits, *c))^mask>>(4*k)&15]
		}
		at += 28
	}
}

// isUUID tells whether a UUID in small letters begins at a place.
func isUUID(text []byte, at int) bool {
	if at < 0 || at+36 > len(text) {
		return false
	}
	for i, c := range text[at : at+36] {
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return false
		}
	}
	return true
}
