package label

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
)

//go:embed data
var data embed.FS

// Code systems of labels.
const (
	Confidentiality = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
	ActCode         = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
)

// A vocabulary is the order of confidentiality and what sensitivities comprise.
type vocabulary struct {
	levels  map[string]int      // 1: the lowest
	closure map[string][]string // all that a code comprises, itself too, sorted
	caveats []string

	purposes map[string][]string // all that a purpose comprises, itself too, sorted
}

// words is read once and never changed: it is part of the program.
var words = sync.OnceValue(func() *vocabulary {
	v, err := readVocabulary()
	if err != nil {
		panic("label: " + err.Error())
	}
	return v
})

// Level gives the place of a confidentiality in its order, from 1; known is false
// for a code that is none.
func Level(code string) (level int, known bool) {
	level, known = words().levels[code]
	return level, known
}

// Closure gives sensitivities and all that they comprise, sorted. A code that is
// not known comprises itself.
func Closure(codes []string) []string {
	var out []string
	for _, c := range codes {
		all, known := words().closure[c]
		if !known {
			all = []string{c}
		}
		out = append(out, all...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// IsCaveat reports whether a code of v3-ActCode stands in meta.security without
// being a sensitivity: an obligation or the like.
func IsCaveat(code string) bool { return slices.Contains(words().caveats, code) }

// Purpose gives what a purpose of use (v3-ActReason) comprises, itself too; known is
// false for a code that is none.
func Purpose(code string) (comprises []string, known bool) {
	comprises, known = words().purposes[code]
	return comprises, known
}

func readVocabulary() (*vocabulary, error) {
	v := &vocabulary{levels: map[string]int{}}
	err := eachLine("confidentiality.txt", func(fields []string) error {
		if v.levels[fields[0]] != 0 {
			return fmt.Errorf("%s is there twice", fields[0])
		}
		v.levels[fields[0]] = len(v.levels) + 1
		return nil
	})
	if err != nil {
		return nil, err
	}
	if v.closure, v.caveats, err = readHierarchy("sensitivity.txt", "caveat"); err != nil {
		return nil, err
	}
	var others []string
	if v.purposes, others, err = readHierarchy("purposes.txt", "also"); err != nil {
		return nil, err
	}
	for _, all := range v.purposes {
		others = append(others, all...)
	}
	for _, code := range others {
		if v.purposes[code] == nil {
			v.purposes[code] = []string{code}
		}
	}
	return v, nil
}

// readHierarchy reads what codes comprise, step by step, and the codes of the line
// that begins with a word.
func readHierarchy(name, word string) (closure map[string][]string, others []string, err error) {
	below := map[string][]string{}
	err = eachLine(name, func(fields []string) error {
		switch {
		case fields[0] == word:
			others = fields[1:]
		case len(fields) < 3 || fields[1] != ":" || below[fields[0]] != nil:
			return fmt.Errorf("%s: not CODE : CODES, or there twice", fields[0])
		default:
			below[fields[0]] = fields[2:]
		}
		return nil
	})
	closure = map[string][]string{}
	for code := range below {
		closure[code] = reach(below, code, nil)
		slices.Sort(closure[code])
	}
	return closure, others, err
}

// reach adds a code and all that it comprises, step by step.
func reach(below map[string][]string, code string, seen []string) []string {
	if slices.Contains(seen, code) {
		return seen
	}
	seen = append(seen, code)
	for _, b := range below[code] {
		seen = reach(below, b, seen)
	}
	return seen
}

// eachLine visits the lines of a file of data, in words, but comments.
func eachLine(name string, visit func(fields []string) error) error {
	text, err := fs.ReadFile(data, "data/"+name)
	if err != nil {
		return err
	}
	return lines(name, string(text), visit)
}

func lines(name, text string, visit func(fields []string) error) error {
	n := 0
	for line := range strings.Lines(text) {
		n++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if err := visit(fields); err != nil {
			return fmt.Errorf("%s:%d: %w", name, n, err)
		}
	}
	return nil
}
