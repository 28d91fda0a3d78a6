// Command stock asks port 8123 as any program with clickhouse-go does, and prints what it got as JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/ext"
)

const labels = "SELECT toString(count()) FROM labels WHERE answer = 'a file'"

func main() {
	said := map[string]string{}
	ask := func(mode string, method clickhouse.CompressionMethod, ctx context.Context, query string, bound ...any) {
		conn, err := clickhouse.Open(&clickhouse.Options{
			Protocol:    clickhouse.HTTP,
			Addr:        []string{os.Args[1]},
			Auth:        clickhouse.Auth{Database: "unjoin", Username: "default"},
			Compression: &clickhouse.Compression{Method: method, Level: 3},
		})
		if err == nil {
			defer conn.Close()
			var answer string
			if err = conn.QueryRow(ctx, query, bound...).Scan(&answer); err == nil {
				said[mode] = answer
				return
			}
		}
		said[mode] = err.Error()
	}
	ctx, none := context.Background(), clickhouse.CompressionNone
	ask("defaults", none, ctx, labels)
	ask("bound", none, ctx, "SELECT toString(count()) FROM labels WHERE answer = ?", "a file")
	for name, method := range map[string]clickhouse.CompressionMethod{
		"lz4": clickhouse.CompressionLZ4, "zstd": clickhouse.CompressionZSTD, "gzip": clickhouse.CompressionGZIP,
		"deflate": clickhouse.CompressionDeflate, "br": clickhouse.CompressionBrotli,
	} {
		ask("compression "+name, method, ctx, labels)
	}
	long := clickhouse.WithParameters(clickhouse.Parameters{"p": strings.Repeat("x", 200_000)})
	ask("long", none, clickhouse.Context(ctx, long), "SELECT toString(length({p:String}))")
	table, err := ext.NewTable("ext", ext.Column("a", "UInt8"), ext.Column("b", "LowCardinality(String)"))
	for number := range 10 {
		if err == nil {
			err = table.Append(uint8(number), fmt.Sprint(number))
		}
	}
	if err != nil {
		panic(err)
	}
	external := clickhouse.WithExternalTable(table)
	ask("external", clickhouse.CompressionLZ4, clickhouse.Context(ctx, external), "SELECT toString(sum(a)) FROM ext")
	settings := clickhouse.WithSettings(clickhouse.Settings{"max_threads": 1, "session_id": "s"})
	ask("settings", none, clickhouse.Context(ctx, settings), "SELECT toString(getSetting('max_threads'))")
	ask("settings clause", none, ctx, "SELECT toString(getSetting('max_threads')) SETTINGS max_threads = 1")
	ask("refused", none, ctx, "SELECT file('/etc/passwd')")
	ask("unread", none, ctx, "SELECT 1::Dynamic")
	json.NewEncoder(os.Stdout).Encode(said)
}
