package config_test

import (
	"errors"
	"os"
	"testing"

	"mypatients/config"
)

// Whatever stands in a file, it is read or its problems are listed with a place.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"demo.yaml", "production.yaml"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("listen: [1, 2]\nissuers:\n  - id: a\n  - id: a\n"))
	f.Add([]byte("a: &x [*x]\n"))
	f.Add([]byte("key: ${A}${B}\nkey: ${A}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := config.Parse("f.yaml", text, func(name string) (string, bool) { return "0123456789abcdef0123456789abcdef", name != "B" })
		if err == nil {
			if c == nil {
				t.Fatal("neither a configuration nor an error")
			}
			return
		}
		var problems *config.Problems
		if c != nil || !errors.As(err, &problems) || err.Error() == "" {
			t.Fatalf("got %v, %T %v", c, err, err)
		}
	})
}
