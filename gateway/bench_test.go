package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
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
