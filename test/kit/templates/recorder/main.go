// Records what consul-template makes of the cases in a file: `go run . CASES RECORDED`, from this folder, by hand.
// The secrets of the cases are put into consul-template's memory as its watcher would; no server is asked.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	dep "github.com/hashicorp/consul-template/dependency"
	"github.com/hashicorp/consul-template/template"
)

type testCase struct {
	Template          string `json:"template"`
	ErrorOnMissingKey bool   `json:"errorOnMissingKey,omitempty"`
	LeftDelimiter     string `json:"leftDelimiter,omitempty"`
	RightDelimiter    string `json:"rightDelimiter,omitempty"`
	// One of: the output in hexadecimal when it is not UTF-8, the output, or the step that failed.
	Output *string `json:"output,omitempty"`
	Hex    string  `json:"hex,omitempty"`
	Error  string  `json:"error,omitempty"`
}

type document struct {
	Secrets map[string]map[string]interface{} `json:"secrets"`
	Lists   map[string][]string               `json:"lists"`
	Env     map[string]string                 `json:"env"`
	Cases   []testCase                        `json:"cases"`
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func remember(doc *document) *template.Brain {
	brain := template.NewBrain()
	for path, data := range doc.Secrets {
		d, err := dep.NewVaultReadQuery(path)
		must(err)
		brain.Remember(d, &dep.Secret{LeaseID: "lease/" + path, LeaseDuration: 3600, Renewable: true, Data: data})
	}
	for path, keys := range doc.Lists {
		d, err := dep.NewVaultListQuery(path)
		must(err)
		brain.Remember(d, keys)
	}
	return brain
}

func record(c *testCase, brain *template.Brain, env []string) {
	t, err := template.NewTemplate(&template.NewTemplateInput{
		Contents: c.Template, ErrMissingKey: c.ErrorOnMissingKey,
		LeftDelim: c.LeftDelimiter, RightDelim: c.RightDelimiter,
	})
	must(err)
	result, err := t.Execute(&template.ExecuteInput{Brain: brain, Env: env})
	if err != nil {
		c.Error = strings.SplitN(err.Error(), ":", 2)[0]
		fmt.Fprintf(os.Stderr, "%q\n  %v\n", c.Template, err)
		return
	}
	if bytes.Equal([]byte(strings.ToValidUTF8(string(result.Output), "?")), result.Output) {
		output := string(result.Output)
		c.Output = &output
		return
	}
	c.Hex = fmt.Sprintf("%x", result.Output)
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	must(err)
	var doc document
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	must(decoder.Decode(&doc))
	brain := remember(&doc)
	env := []string{}
	for name, value := range doc.Env {
		env = append(env, name+"="+value)
	}
	for i := range doc.Cases {
		doc.Cases[i].Output, doc.Cases[i].Hex, doc.Cases[i].Error = nil, "", ""
		record(&doc.Cases[i], brain, env)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	must(encoder.Encode(doc))
	must(os.WriteFile(os.Args[2], out.Bytes(), 0o644))
}
