package fhir

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// A Bundle is a batch or a transaction on its way in
// (https://hl7.org/fhir/R4/bundle.html), taken apart: its resources are parsed
// one by one by those who carry it out.
type Bundle struct {
	Type    string
	Entries []BundleEntry
}

// A BundleEntry is one interaction of a Bundle, as it was written.
type BundleEntry struct {
	FullURL  string
	Resource []byte // shares the memory of the body; nil: none

	Method          string
	URL             string
	IfMatch         string
	IfNoneMatch     string
	IfModifiedSince string
	IfNoneExist     string
}

// What R4 knows of a Bundle, beside what is read; extensions and signatures say
// nothing of what is to be done.
var (
	bundleMembers  = []string{"id", "meta", "implicitRules", "language", "identifier", "timestamp", "total", "link", "signature"}
	entryMembers   = []string{"id", "extension", "link", "search", "response"}
	requestMembers = []string{"id", "extension"}
)

// ParseBundle takes a Bundle apart. It sees to its own elements only; the error
// is Invalid and names the element.
func ParseBundle(body []byte) (*Bundle, error) {
	r := &bundleReader{dec: jsontext.NewDecoder(bytes.NewBuffer(body)), body: body}
	b := &Bundle{}
	kind := ""
	err := r.object("Bundle", func(name, at string) error {
		switch name {
		case "resourceType":
			return r.text(at, &kind)
		case "type":
			return r.text(at, &b.Type)
		case "entry":
			return r.array(at, func(at string) error {
				b.Entries = append(b.Entries, BundleEntry{})
				return r.entry(at, &b.Entries[len(b.Entries)-1])
			})
		}
		return r.skip(name, at, bundleMembers)
	})
	if err == nil && kind != "Bundle" {
		err = ElementErrorf(Invalid, "resourceType", "A Bundle is expected here.")
	}
	if err == nil && len(bytes.TrimSpace(body[r.dec.InputOffset():])) > 0 {
		err = Errorf(Invalid, "There is something behind the Bundle.")
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// A bundleReader reads a Bundle once from front to back. Its decoder refuses
// what is not JSON, names given twice, and bad UTF-8.
type bundleReader struct {
	dec  *jsontext.Decoder
	body []byte
}

func (r *bundleReader) entry(at string, e *BundleEntry) error {
	return r.object(at, func(name, at string) error {
		switch name {
		case "fullUrl":
			return r.text(at, &e.FullURL)
		case "resource":
			raw, err := r.raw('{', at)
			e.Resource = raw
			return err
		case "request":
			return r.object(at, func(name, at string) error {
				field := map[string]*string{"method": &e.Method, "url": &e.URL, "ifMatch": &e.IfMatch, "ifNoneMatch": &e.IfNoneMatch,
					"ifModifiedSince": &e.IfModifiedSince, "ifNoneExist": &e.IfNoneExist}[name]
				if field == nil {
					return r.skip(name, at, requestMembers)
				}
				return r.text(at, field)
			})
		}
		return r.skip(name, at, entryMembers)
	})
}

// object reads the members of an object.
func (r *bundleReader) object(at string, member func(name, at string) error) error {
	if err := r.begin('{', at, "An object is expected here."); err != nil {
		return err
	}
	for r.dec.PeekKind() != '}' {
		name, err := r.dec.ReadToken()
		if err != nil {
			return syntax(err)
		}
		n := name.String()
		if err := member(n, at+"."+n); err != nil {
			return err
		}
	}
	_, err := r.dec.ReadToken()
	return asSyntax(err)
}

func (r *bundleReader) array(at string, item func(at string) error) error {
	if err := r.begin('[', at, "An array is expected here."); err != nil {
		return err
	}
	for i := 0; r.dec.PeekKind() != ']'; i++ {
		if err := item(fmt.Sprintf("%s[%d]", at, i)); err != nil {
			return err
		}
	}
	_, err := r.dec.ReadToken()
	return asSyntax(err)
}

func (r *bundleReader) begin(kind jsontext.Kind, at, text string) error {
	token, err := r.dec.ReadToken()
	if err != nil {
		return syntax(err)
	}
	if token.Kind() != kind {
		return ElementErrorf(Invalid, at, "%s", text)
	}
	return nil
}

// raw gives a value as the bytes it is.
func (r *bundleReader) raw(kind jsontext.Kind, at string) ([]byte, error) {
	value, err := r.dec.ReadValue()
	if err != nil {
		return nil, syntax(err)
	}
	if value.Kind() != kind {
		return nil, ElementErrorf(Invalid, at, "This element is of another type.")
	}
	end := r.dec.InputOffset()
	return r.body[end-int64(len(value)) : end : end], nil
}

func (r *bundleReader) text(at string, to *string) error {
	token, err := r.dec.ReadToken()
	if err != nil {
		return syntax(err)
	}
	if token.Kind() != '"' || token.String() == "" {
		return ElementErrorf(Invalid, at, "A text is expected here.")
	}
	*to = token.String()
	return nil
}

func (r *bundleReader) skip(name, at string, known []string) error {
	if !slices.Contains(known, strings.TrimPrefix(name, "_")) {
		parent := at[:len(at)-len(name)-1]
		return &Error{Kind: Invalid, Issues: []Issue{{Code: "structure", Expression: parent, Text: "There is no element " + quote(name) + " here."}}}
	}
	return asSyntax(r.dec.SkipValue())
}

func asSyntax(err error) error {
	if err == nil {
		return nil
	}
	return syntax(err)
}
