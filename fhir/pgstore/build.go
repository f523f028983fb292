package pgstore

import (
	"strconv"
	"strings"
)

// A builder writes a statement and gathers its arguments. Nothing of a query but
// its shape goes into the text.
type builder struct {
	strings.Builder
	args    []any
	aliases int
	types   map[string]string // of the rows that have a name
}

// build begins a statement about rows a of a type.
func build(a, typ string) *builder { return &builder{types: map[string]string{a: typ}} }

// arg adds an argument and gives its place in the text.
func (b *builder) arg(v any) string {
	b.args = append(b.args, v)
	return "$" + strconv.Itoa(len(b.args))
}

// bytes adds an argument that is a string of bytes.
func (b *builder) bytes(s string) string { return b.arg([]byte(s)) + "::bytea" }

// list adds an argument that is a list of strings of bytes.
func (b *builder) list(values [][]byte) string { return b.arg(values) + "::bytea[]" }

// alias gives a name that is new in the statement.
func (b *builder) alias() string {
	b.aliases++
	return "t" + strconv.Itoa(b.aliases)
}

// write writes parts one after the other.
func (b *builder) write(parts ...string) {
	for _, p := range parts {
		b.WriteString(p)
	}
}
