package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/go-json-experiment/json/jsontext"

	"mypatients/fhir"
)

// Bounds of a patch: it may not make much out of little.
const (
	maxOperations = 1000
	maxPatch      = 4 << 20 // bytes of a patch
	maxCopied     = 1 << 20 // bytes that its copies add
)

// A Patch is a JSON Patch (RFC 6902, https://hl7.org/fhir/R4/http.html#patch) in
// good form.
type Patch struct{ operations jsonpatch.Patch }

// ParsePatch reads a JSON Patch. What is none is Invalid, and names the operation
// at fault by its place, "[2].path".
func ParsePatch(body []byte) (*Patch, error) {
	if len(body) > maxPatch {
		return nil, fhir.Errorf(fhir.TooBig, "A patch may have %d MB.", maxPatch>>20)
	}
	if !jsontext.Value(body).IsValid() { // nor is what holds a name twice
		return nil, fhir.Errorf(fhir.Invalid, "The patch is not JSON.")
	}
	var list []map[string]json.RawMessage // maps know names exactly
	if err := json.Unmarshal(body, &list); err != nil || list == nil {
		return nil, fhir.Errorf(fhir.Invalid, "A JSON Patch is an array of operations.")
	}
	if len(list) > maxOperations {
		return nil, fhir.Errorf(fhir.TooBig, "A patch may have %d operations.", maxOperations)
	}
	for i, op := range list {
		if member, text := faultOf(op); member != "" {
			return nil, fhir.ElementErrorf(fhir.Invalid, fmt.Sprintf("[%d].%s", i, member), "%s", text)
		}
	}
	operations, err := jsonpatch.DecodePatch(body)
	if err != nil {
		return nil, fhir.Errorf(fhir.Invalid, "A JSON Patch is an array of operations.")
	}
	return &Patch{operations}, nil
}

// faultOf names the member of an operation that is wrong, if one is.
func faultOf(op map[string]json.RawMessage) (member, text string) {
	kind, _ := stringOf(op["op"])
	path, ok := stringOf(op["path"])
	switch {
	case !slices.Contains([]string{"add", "remove", "replace", "move", "copy", "test"}, kind):
		return "op", "An operation is add, remove, replace, move, copy or test."
	case !ok || !isPointer(path):
		return "path", "A path is a JSON Pointer, like /name/0/family."
	case path == "" && kind != "test":
		return "path", "A resource is replaced as a whole by an update, not by a patch."
	}
	switch kind {
	case "add", "replace", "test":
		if _, ok := op["value"]; !ok {
			return "value", "This operation needs a value."
		}
	case "move", "copy":
		from, ok := stringOf(op["from"])
		switch {
		case !ok || from == "" || !isPointer(from):
			return "from", "This operation needs a JSON Pointer to what it takes."
		case kind == "move" && strings.HasPrefix(path, from+"/"):
			return "path", "Nothing can be moved into itself."
		}
	}
	return "", ""
}

func stringOf(raw json.RawMessage) (string, bool) {
	var s *string
	if raw == nil || json.Unmarshal(raw, &s) != nil || s == nil {
		return "", false
	}
	return *s, true
}

// isPointer knows RFC 6901.
func isPointer(s string) bool {
	if s != "" && s[0] != '/' {
		return false
	}
	for i := range len(s) {
		if s[i] == '~' && (i+1 == len(s) || s[i+1] != '0' && s[i+1] != '1') {
			return false
		}
	}
	return true
}

// Apply gives what a resource becomes. What the patch leaves alone stays as it
// was written, to the digit; a string may be escaped in another way. A path that
// leads nowhere and a test that fails are Unprocessable and named by their place,
// "[2]".
func (p *Patch) Apply(r *fhir.Resource) ([]byte, error) {
	body, err := apply(p.operations, r.JSON)
	if err == nil && len(body) > fhir.MaxBody {
		return nil, fhir.Errorf(fhir.TooBig, "The patched resource would be too large.")
	}
	if err == nil {
		return body, nil
	}
	// the first that fails ends the shortest run of operations that does
	culprit := sort.Search(len(p.operations), func(i int) bool {
		_, err := apply(p.operations[:i+1], r.JSON)
		return err != nil
	})
	at := fmt.Sprintf("[%d]", culprit)
	var copied *jsonpatch.AccumulatedCopySizeError
	switch {
	case errors.As(err, &copied):
		return nil, fhir.ElementErrorf(fhir.TooBig, at, "The patch copies too much.")
	case errors.Is(err, jsonpatch.ErrTestFailed):
		return nil, fhir.ElementErrorf(fhir.Unprocessable, at, "This test fails.")
	}
	return nil, fhir.ElementErrorf(fhir.Unprocessable, at, "This operation cannot be applied: its path or its from leads nowhere.")
}

// apply applies operations. Paths through values that have none inside can make
// the library panic; they lead nowhere.
func apply(operations jsonpatch.Patch, doc []byte) (body []byte, err error) {
	defer func() {
		if recover() != nil {
			body, err = nil, jsonpatch.ErrMissing
		}
	}()
	return operations.ApplyWithOptions(doc, &jsonpatch.ApplyOptions{AccumulatedCopySizeLimit: maxCopied})
}
