package fhir_test

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/fhir/go/fhirversion"
	"github.com/google/fhir/go/jsonformat"

	"mypatients/fhir"
)

// Where the walk finds nothing, google/fhir is asked with fewer checks, and not again
// about values that it saw before. So what google/fhir refuses when it sees all with
// all its checks must be refused all the same: here, examples that were accepted, with
// an element taken out, a value spoilt, or a reference to another type.
func TestFewerChecksLetNothingPass(t *testing.T) {
	google, err := jsonformat.NewUnmarshaller("UTC", fhirversion.R4)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(3, 5))
	all := examples(t)
	refused, total := 0, 0
	for _, name := range slices.Sorted(maps.Keys(all)) {
		body := all[name]
		if _, err := google.Unmarshal(body); err != nil || len(body) > 20_000 {
			continue
		}
		_, _ = fhir.Parse(body)
		for range 12 {
			tree, err := fhir.Tree(body)
			if err != nil {
				t.Fatal(err)
			}
			what := mutate(rnd, tree)
			changed, err := json.Marshal(tree)
			if err != nil {
				t.Fatal(err)
			}
			total++
			if _, err := google.Unmarshal(changed); err == nil {
				continue
			} else if refused++; true {
				if _, ours := fhir.Parse(changed); ours == nil {
					t.Errorf("%s, %s: accepted, though google/fhir says %v", name, what, err)
				}
			}
		}
	}
	t.Logf("%d of %d changed examples are refused", refused, total)
	if refused < total/20 {
		t.Error("hardly anything is refused: the changes are too kind")
	}
}

// mutate takes a random element out of a tree, spoils its value, or has a reference
// lead to another type, and says which.
func mutate(rnd *rand.Rand, tree map[string]any) string {
	here, path := tree, ""
	for {
		names := slices.Sorted(maps.Keys(here))
		names = slices.DeleteFunc(names, func(n string) bool { return n == "resourceType" || n == "text" })
		if len(names) == 0 {
			return path
		}
		name := names[rnd.IntN(len(names))]
		path += "." + name
		value := here[name]
		if list, ok := value.([]any); ok && len(list) > 0 {
			value = list[rnd.IntN(len(list))]
		}
		if object, ok := value.(map[string]any); ok && rnd.IntN(3) > 0 {
			here = object
			continue
		}
		if text, ok := value.(string); ok && name == "reference" && strings.Contains(text, "/") && !strings.Contains(text, ":") {
			here[name] = "Slot/1"
			return path + " changed"
		}
		if text, ok := here[name].(string); ok && rnd.IntN(2) == 0 {
			spoilt := []any{"2020-13-45", "a  b", text + " ", "x" + text, -1.5, strings.ToUpper(text)}
			here[name] = spoilt[rnd.IntN(len(spoilt))]
			return path + " spoilt"
		}
		delete(here, name)
		return path + " taken out"
	}
}
