package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
)

//go:embed static
var staticFiles embed.FS

// Static is the style sheets, the script and the pictures, ready to be sent.
type static struct {
	files   map[string][]byte // name → content
	version string            // changes with any of the contents; part of their addresses
	tokens  []tokenGroup      // of app.css
}

// newStatic loads the files and writes brand.css, which carries the configured
// colour: the pages may have no style of their own in them.
func newStatic(b Brand) (static, error) {
	s := static{files: map[string][]byte{}}
	err := fs.WalkDir(staticFiles, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		s.files[strings.TrimPrefix(name, "static/")], err = staticFiles.ReadFile(name)
		return err
	})
	if err != nil {
		return static{}, err
	}
	brand := "/* no colour is configured */\n"
	if b.Accent != "" {
		brand = fmt.Sprintf(":root { --brand: %s; }\n", b.Accent)
	}
	s.files["brand.css"] = []byte(brand)
	if name := b.LogoFile(); name != "" {
		s.files[name] = b.Logo
	}
	if s.tokens, err = tokensOf(string(s.files["app.css"])); err != nil {
		return static{}, err
	}
	s.files["tokens.css"] = tokenStyles(s.tokens)
	sum := sha256.New()
	names := make([]string, 0, len(s.files))
	for name := range s.files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(sum, "%s %d\n", name, len(s.files[name]))
		sum.Write(s.files[name])
	}
	s.version = hex.EncodeToString(sum.Sum(nil)[:8])
	return s, nil
}

// serve answers GET /static/*file. An address with the right version never
// changes its content.
func (s static) serve(c *gin.Context) {
	name := strings.TrimPrefix(c.Param("file"), "/")
	content, ok := s.files[name]
	c.Header("X-Content-Type-Options", "nosniff")
	if !ok {
		c.Header("Cache-Control", "no-store")
		c.String(http.StatusNotFound, "No such file.\n")
		return
	}
	keep := "no-cache"
	if c.Query("v") == s.version {
		keep = "public, max-age=31536000, immutable"
	}
	c.Header("Cache-Control", keep)
	c.Header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox") // a picture that is opened by itself is no page
	c.Header("ETag", `"`+s.version+`"`)
	if c.GetHeader("If-None-Match") == `"`+s.version+`"` {
		c.Status(http.StatusNotModified)
		return
	}
	kind := mime.TypeByExtension(path.Ext(name))
	if kind == "" {
		kind = "application/octet-stream"
	}
	c.Data(http.StatusOK, kind, content)
}
