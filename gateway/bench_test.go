package main

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
)

// BenchmarkAuthorised compares whole authorised requests, over loopback, with a
// bare Gin handler that sends the same bytes. The decision, the audit record and
// the log event are part of what is measured. The metric ratio is the share of
// the bare handler's requests per second that the gateway reaches.
func BenchmarkAuthorised(b *testing.B) {
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
			baseline := 0.0
			b.Run("bare", func(b *testing.B) { baseline = requests(b, bare+path, "") })
			b.Run("gateway", func(b *testing.B) {
				rate := requests(b, g.URL+path, token)
				b.ReportMetric(rate/baseline, "ratio")
			})
		})
	}
}

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

// requests sends b.N requests over parallel connections and gives how many a
// second are answered.
func requests(b *testing.B, address, token string) float64 {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	defer client.CloseIdleConnections()
	b.SetParallelism(64) // answers wait for the audit record to be on disk, many for one flush
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
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
	b.StopTimer()
	rate := float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(rate, "req/s")
	return rate
}
