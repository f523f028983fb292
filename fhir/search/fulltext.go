package search

import (
	"strings"
	"unicode"

	"mypatients/fhir/store"
)

// Names of the full-text parameters, and of their terms.
const (
	textParam    = "_text"    // words of the narrative
	contentParam = "_content" // words of everything that people read
)

const (
	maxWord  = 40   // bytes of a word that are looked at
	maxWords = 2000 // different words of a resource that are indexed
)

// WithText gives a registry that indexes words, and searches by _text and _content.
// It is not free: see the package comment. What was indexed before must be indexed
// again.
func (r *Registry) WithText() *Registry {
	more := *r
	more.text = true
	return &more
}

// Text reports whether words are indexed, see [Registry.WithText].
func (r *Registry) Text() bool { return r.text }

// words adds a term for each word of the narrative and of the rest.
func (x *indexer) words(tree map[string]any) {
	seen := map[string]bool{}
	if narrative, ok := tree["text"].(map[string]any); ok {
		if div, ok := narrative["div"].(string); ok {
			eachWord(withoutTags(div), func(word string) {
				if !seen[word] && len(seen) < maxWords {
					seen[word] = true
					x.add(textParam, word)
				}
			})
		}
	}
	clear(seen)
	var walk func(name string, v any)
	walk = func(name string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, part := range v {
				walk(key, part)
			}
		case []any:
			for _, part := range v {
				walk(name, part)
			}
		case string:
			if notRead[name] {
				return
			}
			if name == "div" {
				v = withoutTags(v)
			}
			eachWord(v, func(word string) {
				if !seen[word] && len(seen) < maxWords {
					seen[word] = true
					x.add(contentParam, word)
				}
			})
		}
	}
	walk("", tree)
}

// notRead are elements that hold nothing for people to read.
var notRead = map[string]bool{"resourceType": true, "id": true, "reference": true, "system": true, "url": true, "data": true,
	"versionId": true, "lastUpdated": true, "fullUrl": true, "profile": true, "status": true, "instantiatesCanonical": true}

// withoutTags takes the tags out of XHTML.
func withoutTags(s string) string {
	var b strings.Builder
	inside := false
	for _, r := range s {
		switch {
		case r == '<':
			inside = true
			b.WriteByte(' ')
		case r == '>':
			inside = false
		case !inside:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// eachWord gives the folded words of a text: letters and digits in a row, two at
// least.
func eachWord(s string, yield func(string)) {
	for word := range strings.FieldsFuncSeq(fold(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if len(word) > 1 {
			yield(cutText(word, maxWord))
		}
	}
}

// fullText reads _text=word word: resources that have all words. Alternatives are
// separated by commas.
func (ps *parser) fullText(name, value string) (store.Expr, error) {
	var any store.Or
	for _, v := range splitEscaped(value, ',') {
		var all store.And
		var err error
		eachWord(unescape(v), func(word string) {
			all = append(all, store.Equal{Name: name, Value: word})
			if spent := ps.spend(1); spent != nil {
				err = spent
			}
		})
		switch {
		case err != nil:
			return nil, err
		case len(all) == 0:
			return nil, badValue("words of at least two letters are needed")
		case len(all) == 1:
			any = append(any, all[0])
		default:
			any = append(any, all)
		}
	}
	return anyOf(any), nil
}
