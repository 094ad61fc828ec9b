package soak

import (
	"os"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// draw puts all series into one picture: memory, goroutines, objects and rows.
func drawAll(all []*Series, path string) error {
	panels := []struct {
		title string
		has   func(*Series) bool
	}{
		{"memory, MiB", func(s *Series) bool { return s.Unit == "MiB" }},
		{"goroutines", func(s *Series) bool { return strings.HasSuffix(s.Name, "goroutines") }},
		{"objects in the store", func(s *Series) bool {
			return s.Unit == "" && !strings.HasSuffix(s.Name, "goroutines") && !strings.HasPrefix(s.Name, "rows")
		}},
		{"rows of the index", func(s *Series) bool { return strings.HasPrefix(s.Name, "rows") }},
	}
	plots := [][]*plot.Plot{{nil, nil}, {nil, nil}}
	for i, panel := range panels {
		p, err := drawPanel(panel.title, all, panel.has)
		if err != nil {
			return err
		}
		plots[i/2][i%2] = p
	}
	return writePNG(plots, path)
}

func drawPanel(title string, all []*Series, has func(*Series) bool) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Min, p.Legend.Top, p.Legend.Left = title, "minutes", 0, true, true
	colour := 0
	for _, s := range all {
		if !has(s) {
			continue
		}
		points := make(plotter.XYs, len(s.Points))
		for i, at := range s.Points {
			points[i].X, points[i].Y = at.minutes(), at.Value
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return nil, err
		}
		line.Color, line.Dashes = plotutil.Color(colour), plotutil.Dashes(colour/7)
		colour++
		p.Add(line)
		p.Legend.Add(strings.TrimSuffix(strings.TrimSuffix(s.Name, " RSS"), " goroutines"), line)
	}
	p.Y.Max *= 1.6 // room for the legend
	return p, nil
}

func writePNG(plots [][]*plot.Plot, path string) error {
	picture := vgimg.New(16*vg.Inch, 11*vg.Inch)
	canvases := plot.Align(plots, draw.Tiles{Rows: 2, Cols: 2, PadX: vg.Millimeter * 4, PadY: vg.Millimeter * 4}, draw.New(picture))
	for row := range plots {
		for column, p := range plots[row] {
			p.Draw(canvases[row][column])
		}
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := (vgimg.PngCanvas{Canvas: picture}).WriteTo(file); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}
