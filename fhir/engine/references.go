package engine

import (
	"regexp"
	"strconv"
	"strings"

	"mypatients/fhir"
)

// References replaces, in the resources of a Bundle, what stands for other
// entries by what they are called here
// (https://hl7.org/fhir/R4/http.html#trules, bundle.html#references): in
// references, in elements of type uri and url, and in the links of the narrative;
// canonical URLs stay. The specification names oid and uuid too, which cannot hold
// what would take their place; they stay. All else stays byte for byte.
type References struct {
	targets map[string]target
	find    func(fhir.Reference) (fhir.Key, error)
}

// A target is what an entry is called here; the version is what a reference to a
// version is made to name, 0 when that is not known.
type target struct {
	key     fhir.Key
	version int64
}

// NewReferences makes an empty one. find settles conditional references.
func NewReferences(find func(fhir.Reference) (fhir.Key, error)) *References {
	return &References{map[string]target{}, find}
}

// Add tells what the entry with a fullUrl is called here.
func (r *References) Add(fullURL string, key fhir.Key, version int64) {
	if fullURL != "" {
		r.targets[fullURL] = target{key, version}
	}
}

// Rewrite gives the compact body of the entry with a fullUrl with its links
// replaced. A urn that no entry has is Unprocessable.
func (r *References) Rewrite(fullURL string, compact []byte) ([]byte, error) {
	base := "" // of relative references, when the entry has an address
	if own := fhir.ParseReference(fullURL); own.Form == fhir.Literal {
		base = own.Base + "/"
	}
	var out []byte
	done := 0
	for link := range fhir.Links(compact) {
		with, err := r.replacement(base, link)
		if err != nil {
			return nil, at(err, link.Expression(fhir.Header(compact).Type))
		}
		if with != "" {
			out = append(append(out, compact[done:link.Start]...), fhir.Quoted(with)...)
			done = link.End
		}
	}
	if done == 0 {
		return compact, nil
	}
	return append(out, compact[done:]...), nil
}

// at names the element that an error without one is about.
func at(err error, expression string) error {
	known, ok := err.(*fhir.Error)
	if !ok {
		return err
	}
	named := &fhir.Error{Kind: known.Kind, Cause: known.Cause}
	for _, issue := range known.Issues {
		if issue.Expression == "" {
			issue.Expression = expression
		}
		named.Issues = append(named.Issues, issue)
	}
	return named
}

// replacement gives what a link becomes; empty: it stays.
func (r *References) replacement(base string, link fhir.Link) (string, error) {
	value := link.Value()
	switch link.Kind {
	case fhir.LinkURI:
		if t, found := r.targets[value]; found {
			return t.key.String(), nil
		}
		return "", nil
	case fhir.LinkNarrative:
		return r.narrative(base, value), nil
	}
	return r.reference(base, value)
}

func (r *References) reference(base, value string) (string, error) {
	if with := r.entry(base, value); with != "" {
		return with, nil
	}
	if strings.HasPrefix(value, "urn:uuid:") || strings.HasPrefix(value, "urn:oid:") {
		return "", &fhir.Error{Kind: fhir.Unprocessable, Issues: []fhir.Issue{{Code: "not-found",
			Text: "No entry of the Bundle has the fullUrl that is referred to."}}}
	}
	ref := fhir.ParseReference(value)
	if ref.Form != fhir.Conditional {
		return "", nil
	}
	key, err := r.find(ref)
	return key.String(), err
}

// entry gives what a reference to an entry becomes, empty if it is to none. A
// reference to a version names the one that is written now.
func (r *References) entry(base, value string) string {
	whole, fragment, _ := strings.Cut(value, "#")
	whole, version, versioned := strings.Cut(whole, "/_history/")
	if !versioned {
		whole, version, versioned = strings.Cut(whole, "|")
	}
	t, found := r.targets[whole]
	if !found && base != "" && fhir.ParseReference(whole).Form == fhir.Relative {
		t, found = r.targets[base+whole]
	}
	if !found || whole == "" {
		return ""
	}
	with := t.key.String()
	if versioned {
		if t.version > 0 {
			version = strconv.FormatInt(t.version, 10)
		}
		with += "/_history/" + version
	}
	if fragment != "" {
		with += "#" + fragment
	}
	return with
}

// links are the attributes of narrative that lead somewhere.
var links = regexp.MustCompile(`(\s(?:href|src)\s*=\s*)("[^"]*"|'[^']*')`)

// narrative replaces the links of an XHTML text; empty: there are none.
func (r *References) narrative(base, text string) string {
	changed := false
	out := links.ReplaceAllStringFunc(text, func(attribute string) string {
		parts := links.FindStringSubmatch(attribute)
		quote := parts[2][:1]
		with := r.entry(base, strings.Trim(parts[2], quote))
		if with == "" {
			return attribute
		}
		changed = true
		return parts[1] + quote + with + quote
	})
	if !changed {
		return ""
	}
	return out
}
