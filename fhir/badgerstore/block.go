package badgerstore

import (
	"bytes"
	"sort"
	"sync/atomic"

	"mypatients/fhir/store"
)

// blockRows is how many rows a block holds at most.
const blockRows = 512

// A block holds the terms of a stretch of one owner's rows of one type, by name:
// what a condition has to look at is side by side, and the answer is a set of
// bits. Blocks are cached; what they hold never changes.
type block struct {
	typ     string
	ids     []string // ascending
	columns []column
	arena   []byte // the values, without most of their repetitions
	more    bool   // there are rows behind the last one

	verdicts atomic.Pointer[[]verdict]
}

// A column holds the values under a name, by row, and ascending within a row.
type column struct {
	name  string
	cells []cell
}

type cell struct {
	row        uint16
	start, end uint32 // of the value in the arena
}

// bits are a set of rows of a block.
type bits [blockRows / 64]uint64

func (b *bits) has(row int) bool { return b[row/64]&(1<<(row%64)) != 0 }
func (b *bits) set(row int)      { b[row/64] |= 1 << (row % 64) }

func (b *bits) empty() bool { return *b == bits{} }

// without gives what is in b and not in other.
func (b bits) without(other bits) bits {
	for i := range b {
		b[i] &^= other[i]
	}
	return b
}

func (b bits) with(other bits) bits {
	for i := range b {
		b[i] |= other[i]
	}
	return b
}

// between gives the rows from <= row < to.
func between(from, to int) (b bits) {
	for row := from; row < to; row++ {
		b.set(row)
	}
	return b
}

// block gives the rows of a type that belong to an owner, behind the id after.
func (r *reader) block(owner, typ, after string) (*block, error) {
	prefix := ownerPrefix(nil, owner, typ)
	s := under(prefix)
	key := prefix
	if after != "" {
		key = append(bytes.Clone(prefix), after...)
		s.from = append(bytes.Clone(key), 0)
	}
	if r.over != nil && r.over.touches(s) {
		return r.readBlock(s, typ, len(prefix))
	}
	slot := r.store.cache.slot(prefix)
	if b, ok := r.store.cache.get(key, slot, r.snapshot); ok {
		return b.(*block), nil
	}
	b, err := r.readBlock(s, typ, len(prefix))
	if err == nil {
		r.store.cache.put(key, r.snapshot, b, b.size())
	}
	return b, err
}

func (r *reader) readBlock(s span, typ string, head int) (*block, error) {
	b := &block{typ: typ}
	for row := range r.scan(s, false) {
		if len(b.ids) == r.store.tune.block {
			b.more = true
			break
		}
		b.ids = append(b.ids, string(row.key[head:]))
		err := row.read(func(terms []byte) error {
			b.add(uint16(len(b.ids)-1), store.Terms(terms))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	b.arena = bytes.Clone(b.arena) // without the room to grow
	sort.Slice(b.columns, func(i, j int) bool { return b.columns[i].name < b.columns[j].name })
	return b, r.ctx.Err()
}

// add enters the terms of a row. Rows of a type mostly have the same names in
// the same order, so the column is looked for where the last one was found.
func (b *block) add(row uint16, terms store.Terms) {
	at := 0
	for name, value := range terms.All() {
		at = b.find(name, at)
		c := &b.columns[at]
		if n := len(c.cells); n > 0 {
			last := c.cells[n-1]
			if bytes.Equal(b.arena[last.start:last.end], value) {
				c.cells = append(c.cells, cell{row, last.start, last.end})
				continue
			}
		}
		start := uint32(len(b.arena))
		b.arena = append(b.arena, value...)
		c.cells = append(c.cells, cell{row, start, uint32(len(b.arena))})
	}
}

func (b *block) find(name []byte, hint int) int {
	for i := hint; i < min(hint+2, len(b.columns)); i++ {
		if b.columns[i].name == string(name) {
			return i
		}
	}
	for i := range b.columns {
		if b.columns[i].name == string(name) {
			return i
		}
	}
	b.columns = append(b.columns, column{string(name), make([]cell, 0, 32)})
	return len(b.columns) - 1
}

// column gives the cells under a name, none if there are none.
func (b *block) column(name string) []cell {
	i := sort.Search(len(b.columns), func(i int) bool { return b.columns[i].name >= name })
	if i < len(b.columns) && b.columns[i].name == name {
		return b.columns[i].cells
	}
	return nil
}

func (b *block) value(c cell) []byte { return b.arena[c.start:c.end:c.end] }

// sortValues gives the values that the rows are sorted by, nil where a row has
// none: those of row i begin at i times the number of sorts.
func (b *block) sortValues(sorts []store.Sort) [][]byte {
	n := len(sorts)
	if n == 0 {
		return nil
	}
	values := make([][]byte, len(b.ids)*n)
	for i, s := range sorts {
		if s.Name == store.ID {
			for row, id := range b.ids {
				values[row*n+i] = []byte(id)
			}
			continue
		}
		for _, c := range b.column(s.Name) {
			if v := &values[int(c.row)*n+i]; *v == nil || s.Descending {
				*v = b.value(c)
			}
		}
	}
	return values
}

// size is about what the block takes in memory.
func (b *block) size() int {
	n := len(b.arena) + 64 + maxVerdicts*verdictSize
	for _, id := range b.ids {
		n += len(id) + 24
	}
	for i := range b.columns {
		n += cap(b.columns[i].cells)*12 + 64
	}
	return n
}
