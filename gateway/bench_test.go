package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
)

// BenchmarkAuthorised compares whole authorised requests, over loopback, with a
// bare Gin handler that sends the same bytes. The decision, the audit record and
// the log event are part of what is measured. The two take turns, so that both meet the same machine. The metric ratio is the
// share of the bare handler's requests per second that the gateway reaches.
func BenchmarkAuthorised(b *testing.B) {
	limitMemory(os.LookupEnv) // as main does
	g := startDemo(b, nil)
	token := g.launch("grace", "launch/patient patient/*.rs", "pt-1")["access_token"].(string)
	for name, path := range map[string]string{
		"read":   "/fhir/Patient/pt-1",
		"search": "/fhir/Observation?patient=pt-1&_count=50",
	} {
		b.Run(name, func(b *testing.B) {
			status, _, body := g.get(path, "Authorization", "Bearer "+token)
			if status != http.StatusOK || name == "search" && strings.Count(body, `"mode":"match"`) != 50 {
				b.Fatalf("got %d %.300s", status, body)
			}
			bare := bareServer(b, body)
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * inFlight}}
			defer client.CloseIdleConnections()
			var plain, whole time.Duration
			b.ResetTimer()
			for left := b.N; left > 0; left -= turn {
				n := min(left, turn)
				b.StopTimer()
				plain += requests(b, client, bare+path, "", n)
				b.StartTimer()
				whole += requests(b, client, g.URL+path, token, n)
			}
			b.ReportMetric(plain.Seconds()/whole.Seconds(), "ratio")
			b.ReportMetric(float64(b.N)/plain.Seconds(), "bare-req/s")
			b.ReportMetric(float64(b.N)/whole.Seconds(), "req/s")
		})
	}
}

// BenchmarkUnauthorised compares whole authorised searches, over loopback, with the
// same searches of the engine by a Gin handler that asks nobody and records nothing.
// The metric ratio is how much longer the authorised ones take.
func BenchmarkUnauthorised(b *testing.B) {
	limitMemory(os.LookupEnv)
	g := startDemo(b, nil)
	token := g.launch("grace", "launch/patient patient/*.rs", "pt-1")["access_token"].(string)
	path := "/fhir/Observation?patient=pt-1&_count=50"
	bare := g.openServer(b)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * inFlight}}
	defer client.CloseIdleConnections()
	requests(b, client, bare+path, "", turn)
	requests(b, client, g.URL+path, token, turn)
	var open, whole time.Duration
	b.ResetTimer()
	for left := b.N; left > 0; left -= turn {
		n := min(left, turn)
		open += requests(b, client, bare+path, "", n)
		whole += requests(b, client, g.URL+path, token, n)
	}
	b.ReportMetric(whole.Seconds()/open.Seconds(), "ratio")
	b.ReportMetric(float64(b.N)/open.Seconds(), "open-req/s")
	b.ReportMetric(float64(b.N)/whole.Seconds(), "req/s")
}

// openServer answers searches for Observations with all that there is.
func (g *gateway) openServer(b *testing.B) string {
	b.Helper()
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.GET("/fhir/Observation", func(c *gin.Context) {
		var page *fhir.Page
		q, err := g.core.engine.Registry().Parse("Observation", c.Request.URL.Query(), search.Options{Base: g.URL + "/fhir", Now: time.Now(), DefaultCount: 50, MaxCount: 1000})
		if err == nil {
			err = g.core.engine.View(c, func(tx *engine.Tx) (err error) {
				page, err = tx.Search(q, engine.Everything)
				return err
			})
		}
		if err != nil {
			_ = c.AbortWithError(http.StatusInternalServerError, err)
			return
		}
		var body bytes.Buffer
		body.WriteString(`{"resourceType":"Bundle","type":"searchset","entry":[`)
		for i, e := range page.Entries {
			if i > 0 {
				body.WriteByte(',')
			}
			body.WriteString(`{"fullUrl":"` + g.URL + `/fhir/` + e.Resource.Key.String() + `","resource":`)
			body.Write(e.Resource.JSON)
			body.WriteString(`,"search":{"mode":"match"}}`)
		}
		body.WriteString(`]}`)
		c.Data(http.StatusOK, "application/fhir+json", body.Bytes())
	})
	server := httptest.NewServer(r)
	b.Cleanup(server.Close)
	return server.URL
}

// inFlight is how many requests wait for their answer at a time: answers wait for
// their audit record to be on disk, many for one flush.
const inFlight = 256

// turn is how many requests the one gets before the other.
const turn = 5000

// bareServer answers everything with a body, and nothing else.
func bareServer(b *testing.B, body string) string {
	b.Helper()
	gin.SetMode(gin.ReleaseMode)
	r, bytes := gin.New(), []byte(body)
	r.GET("/fhir/:type", func(c *gin.Context) { c.Data(http.StatusOK, "application/fhir+json", bytes) })
	r.GET("/fhir/:type/:id", func(c *gin.Context) { c.Data(http.StatusOK, "application/fhir+json", bytes) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: r}
	go func() { _ = server.Serve(listener) }()
	b.Cleanup(func() { _ = server.Close() })
	return "http://" + listener.Addr().String()
}

// requests sends n requests over parallel connections and gives how long it took
// until all were answered.
func requests(b *testing.B, client *http.Client, address, token string, n int) time.Duration {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(n))
	var all sync.WaitGroup
	began := time.Now()
	for range inFlight {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				r, err := http.NewRequest(http.MethodGet, address, nil)
				if err != nil {
					b.Error(err)
					return
				}
				r.Header.Set("Authorization", "Bearer "+token)
				res, err := client.Do(r)
				if err != nil {
					b.Error(err)
					return
				}
				if _, err = io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
					b.Errorf("got %d %v", res.StatusCode, err)
				}
				_ = res.Body.Close()
			}
		})
	}
	all.Wait()
	return time.Since(began)
}
