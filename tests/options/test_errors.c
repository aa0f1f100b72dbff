/* Wrong flags and files: what is said, word for word, with place and remedy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/options/support_options.h"
#include "tuner/base/memory.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define DEVICES " (cpu, cuda:N, GPU-<uuid>, all, ref; fillmark devices lists them)"
#define SCALE " is not a scale like 1, 1/2 or 3/4 (parts from 1 to 64)"
#define SIZE " is not a size like 2GiB, 512MiB or 1.5GB, or 'auto'"
#define SMALL ", less than 2MiB, the smallest segment of PyTorch's allocator; "
#define NO_GPU(name, near) "--device: unknown device '" name "'; did you mean '" near "'? (fillmark show devices, fillmark devices)"
#define BLOCKS " (none, blocks, or block names: fillmark show workload "

struct row { const char *given, *text; };

static const struct row commands[] = {
    { "", "no command (run, plan, show, devices, report, compare, history, export, advise, explain, help; fillmark --help)" },
    { "runn", "unknown command 'runn'; did you mean 'run'? (run, plan, show, devices, report, compare, history, export, advise, explain, help)" },
    { "xyzzy", "unknown command 'xyzzy' (run, plan, show, devices, report, compare, history, export, advise, explain, help)" },
    { "show", "show: what? (fillmark show workloads, workload NAME, devices)" },
    { "show worklods", "show: unknown 'worklods'; did you mean 'workloads'? (workloads, workload NAME, devices)" },
    { "--json run", "--json: a command comes first (fillmark run --json)" },
    { "help show x", "show: unknown 'x' (workloads, workload NAME, devices)" },
    { "help rnu", "unknown command 'rnu'; did you mean 'run'? (run, plan, show, devices, report, compare, history, export, advise, explain, help)" },
    { "help run x", "help: unexpected argument 'x'" },
    { "--version x", "--version: unexpected argument 'x'" },
    { "run --precison fp32", "--precison: unknown option; did you mean '--precision'? (fillmark run --help)" },
    { "run --val_batch same", "--val_batch: unknown option; did you mean '--val-batch'? (fillmark run --help)" },
    { "run --prec=fp32", "--prec: unknown option; did you mean '--precision'? (fillmark run --help)" },
    { "run --Precision fp32", "--Precision: unknown option; did you mean '--precision'? (fillmark run --help)" },
    { "run --batch 4", "--batch: an option of 'fillmark plan', not of 'fillmark run'" },
    { "report x --seed 1", "--seed: an option of 'fillmark run', not of 'fillmark report'" },
    { "run -x", "-x: unknown option; options begin with '--' (fillmark run --help)" },
    { "run a b", "run: unexpected argument 'b'" },
    { "devices x", "devices: unexpected argument 'x'" },
    { "report", "report: which run? (fillmark report DIR)" },
    { "report a b", "report: unexpected argument 'b'" },
    { "compare a", "compare: which two runs? (fillmark compare BASE NEW)" },
    { "compare a b c", "compare: unexpected argument 'c'" },
    { "compare a b --max-slowdown 5", "--max-slowdown: '5' is not a share like 5% or 0.5%" },
    { "compare a b --max-slowdown 100%", "--max-slowdown: '100%' is not from 0% to 99.9999%" },
    { "compare a b --max-memory-growth -1%", "--max-memory-growth: '-1%' is not a share like 5% or 0.5%" },
    { "show workload", "show workload: which? (fillmark show workloads lists them)" },
    { "show workload segfromer",
      "unknown workload 'segfromer'; did you mean 'segformer'? (fillmark show workloads lists them)" },
    { "show workload segformer b", "show workload: unexpected argument 'b'" },
    { "run --json --json", "--json: given twice" },
    { "run --seed 1 --seed 1", "--seed: given twice" },
    { "run --precision fp32 --precision bf16", "--precision: given twice; several values are a comma list" },
    { "run --json=true", "--json: takes no value" },
    { "run --precision", "--precision: its value is missing" },
    { "run --precision --json", "--precision: its value is missing" },
    { "run --precision=", "--precision: its value is missing" },
    { "run --precision fp32,", "--precision: an empty value in the list 'fp32,'" },
    { "run --precision ,fp32", "--precision: an empty value in the list ',fp32'" },
    { "run --resume", "--resume: which run? give its folder with --out DIR" },
};

static const struct row values[] = {
    { "run --precision fp23", "--precision: unknown value 'fp23'; did you mean 'fp32'? (fp32,tf32,fp16,bf16)" },
    { "run --precision fp32,fp32", "--precision: 'fp32' is there twice" },
    { "run --channels 0.333", "--channels: '0.333'" SCALE },
    { "run --channels 0", "--channels: '0'" SCALE },
    { "run --channels 0.0", "--channels: '0.0'" SCALE },
    { "run --channels 65", "--channels: '65'" SCALE },
    { "run --channels 1/2/3", "--channels: '1/2/3'" SCALE },
    { "plan --workload denseunet3d --set base_channels=4 --channels 1,1/3,3/8",
      "--channels: '3/8' makes the same network of denseunet3d as '1/3', as channels are rounded down; leave one out" },
    { "run --workload segformer,denseunet3d --set denseunet3d.base_channels=3 --channels 3/8,1/2",
      "--channels: '1/2' makes the same network of denseunet3d as '3/8', as channels are rounded down; leave one out" },
    { "run --channels 1/2,0.5", "--channels: '1/2' is there twice" },
    { "run --accumulate 0", "--accumulate: '0' is not a whole number from 1 to 1024" },
    { "run --accumulate 1025", "--accumulate: '1025' is not a whole number from 1 to 1024" },
    { "run --accumulate 04,4", "--accumulate: '4' is there twice" },
    { "run --accumulate 1x", "--accumulate: '1x' is not a whole number from 1 to 1024" },
    { "run --val-batch sme", "--val-batch: unknown value 'sme'; did you mean 'same'? (same,half,max)" },
    { "run --optimizer adamv",
      "--optimizer: unknown value 'adamv'; did you mean 'adamw'? (adamw,adamw-amsgrad,adam,sgd)" },
    { "run --optimizer-form fuse",
      "--optimizer-form: unknown value 'fuse'; did you mean 'fused'? (foreach,fused,for-loop)" },
    { "run --zero-grad kep", "--zero-grad: unknown value 'kep'; did you mean 'keep'? (none,keep)" },
    { "run --loop loader,plain", "--loop: unknown value 'loader,plain' (loader,plain)" },
    { "run --accounting eagr", "--accounting: unknown value 'eagr'; did you mean 'eager'? (eager,dispatch)" },
    { "run --memory 2GiBx", "--memory: '2GiBx'" SIZE },
    { "run --memory -1", "--memory: '-1'" SIZE },
    { "run --memory 0", "--memory: '0' is only 0 bytes" SMALL "give a size like 2GiB" },
    { "run --memory 4", "--memory: '4' is 4 bytes" SMALL "did you mean '4GiB'?" },
    { "run --memory 1", "--memory: '1' is 1 byte" SMALL "did you mean '1GiB'?" },
    { "plan --device none --memory 1.5", "--memory: '1.5' is 1 byte" SMALL "did you mean '1.5GiB'?" },
    { "advise --memory 8000", "--memory: '8000' is only 8000 bytes" SMALL "give a size like 2GiB" },
    { "run --memory 2047KiB", "--memory: '2047KiB' is only 2096128 bytes" SMALL "give a size like 2GiB" },
    { "run --memory 9999999TiB", "--memory: '9999999TiB' is too large: at most 1073741824GiB" },
    { "run --memory 2000000TiB", "--memory: '2000000TiB' is too large: at most 1073741824GiB" },
    { "plan --device a100", NO_GPU("a100", "a100-40g") },
    { "plan --device v100", NO_GPU("v100", "v100-16g") },
    { "plan --device T4", NO_GPU("T4", "t4") },
    { "export --device H100", NO_GPU("H100", "h100") },
    { "advise --device CPU", NO_GPU("CPU", "cpu") },
    { "plan --device cuda", NO_GPU("cuda", "cuda:0") },
    { "run --device CPU", "--device: unknown device 'CPU'; did you mean 'cpu'?" DEVICES },
    { "run --threads 5000", "--threads: '5000' is not from 1 to 4096" },
    { "run --threads 2x", "--threads: '2x' is not a whole number, or 'auto'" },
    { "run --seed -1", "--seed: '-1' is not from 0 to 9223372036854775807" },
    { "run --seed 9223372036854775808", "--seed: '9223372036854775808' is not a whole number" },
    { "run --time-budget 4", "--time-budget: '4' is not a time like 90s, 4m, 1.5h or 250ms, or 'none'" },
    { "run --time-budget 0s", "--time-budget: '0s' is not from 1ms to 31536000s" },
    { "run --deadline none", "--deadline: 'none' is not a time like 90s, 4m, 1.5h or 250ms" },
    { "run --launches 0", "--launches: '0' is not from 1 to 100" },
    { "run --max-batch 0", "--max-batch: '0' is not from 1 to 1073741824" },
    { "plan --batch 1073741825", "--batch: '1073741825' is not from 1 to 1073741824" },
    { "run --search plann", "--search: unknown value 'plann'; did you mean 'plan'? (plan,binsearch,power)" },
    { "run --device cpuu", "--device: unknown device 'cpuu'; did you mean 'cpu'?" DEVICES },
    { "run --device cuda", "--device: unknown device 'cuda'; did you mean 'cuda:0'?" DEVICES },
    { "run --device cuda:01", "--device: unknown device 'cuda:01'; did you mean 'cuda:0'?" DEVICES },
    { "run --device cpu,GPU-12", "--device: unknown device 'GPU-12'" DEVICES },
    { "run --device none", "--device: 'none' is for 'fillmark plan': a run needs a device" },
    { "plan --device none,cpu", "--device: 'none' stands alone" },
    { "run --device cpu,all", "--device: 'all' stands alone" },
    { "run --device cpu,cpu", "--device: 'cpu' is there twice" },
    { "run --only xyz", "--only: 'xyz' is not the beginning of a cell's id: 1 to 16 hexadecimal digits, from a table" },
    { "run --checkpoint block",
      "--checkpoint: unknown value 'block'; did you mean 'blocks'?" BLOCKS "denseunet3d)" },
    { "run --workload denseunet3d --checkpoint enc1,enc2+enc9",
      "--checkpoint: unknown value 'enc9'; did you mean 'enc1'?" BLOCKS "denseunet3d)" },
    { "run --workload denseunet3d --set levels=3 --checkpoint enc4",
      "--checkpoint: unknown value 'enc4'; did you mean 'enc1'?" BLOCKS "denseunet3d)" },
    { "run --checkpoint enc1", "--checkpoint: unknown value 'enc1'" BLOCKS "segformer)" },
    { "run --checkpoint enc1+none", "--checkpoint: 'none' stands alone, not in 'enc1+none'" },
    { "run --checkpoint enc1+", "--checkpoint: an empty block name in 'enc1+'" },
    { "run --checkpoint enc1+enc2+enc1", "--checkpoint: block 'enc1' is there twice" },
    { "run --accumulate 1,2,3,4,5,6,7,8 --channels 1,2,3,4,5,6,7,8 --set classes=2,3,4,5,6,7,8,9,10,11 --optimizer "
      "adam,sgd,adamw,adamw-amsgrad --zero-grad none,keep --optimizer-form foreach,fused",
      "the lists of workloads, settings and strategies make more than 10000 cells; give fewer values, or several "
      "runs" },
};

static const struct row settings[] = {
    { "run --workload segfromer",
      "--workload: unknown workload 'segfromer'; did you mean 'segformer'? (fillmark show workloads lists them)" },
    { "run --workload segformer,segformer", "--workload: 'segformer' is there twice" },
    { "run --set x", "--set: 'x' is not KEY=VALUE or WORKLOAD.KEY=VALUE" },
    { "run --set", "--set: its value is missing" },
    { "run --set segformer.=4", "--set segformer.: a setting's name is missing: KEY=VALUE" },
    { "run --set base_chanels=8",
      "--set base_chanels: no chosen workload has such a setting; did you mean 'base_channels'? (fillmark show "
      "workload NAME)" },
    { "run --workload segformer --set base_channels=8",
      "--set base_channels: no chosen workload has such a setting (fillmark show workload NAME)" },
    { "run --workload segformer --set denseunet3d.base_channels=8",
      "--set denseunet3d.base_channels: denseunet3d is not among the workloads chosen" },
    { "run --set base_channels=x",
      "--set base_channels: 'x' is not a whole number from 1 to 256 (denseunet3d's; for one workload alone: "
      "denseunet3d.base_channels)" },
    { "run --set denseunet3d.base_channels=8,257",
      "--set denseunet3d.base_channels: '257' is not a whole number from 1 to 256" },
    { "run --set input=32x32x32",
      "--set input: '32x32x32' is not HxW (segformer's; for one workload alone: segformer.input)" },
    { "run --set base_channels=2,levels=2",
      "--set base_channels: 'levels=2' is not a value of base_channels: commas part values of one key; for another key: --set levels=2" },
    { "run --set base_channels=", "--set base_channels: its value is missing" },
    { "run --set base_channels=8,,9", "--set base_channels: an empty value in the list '8,,9'" },
    { "run --set base_channels=8,08", "--set base_channels: '8' is there twice" },
    { "run --set denseunet.input=3x3x3",
      "--set denseunet.input: unknown workload 'denseunet'; did you mean 'denseunet3d'? (fillmark show workloads lists "
      "them)" },
    { "run --set segformer.inptu=3",
      "--set segformer.inptu: segformer has no setting 'inptu'; did you mean 'input'? (fillmark show workload "
      "segformer lists them)" },
    { "run --set classes=4 --set classes=5", "--set classes: given twice; several values are a comma list" },
    { "run --set segformer.variant=c0",
      "--set segformer.variant: unknown value 'c0'; did you mean 'b0'? (b0,b1,b2,b3,b4,b5)" },
    { "show workload segformer --set input=64x64,32x32", "--set input: one value here, not a list" },
    { "show workload segformer --set levels=3",
      "--set levels: no chosen workload has such a setting (fillmark show workload NAME)" },
};

#define AT "config.yaml:"
#define TAB "; the line is indented with a tab, which YAML does not take: use blanks"
#define NOTHING ": says nothing; write lines of 'key: value' (fillmark run --help), or leave the file out for the default campaign"
static const struct row files[] = {
    /* names and values */
    { "seed: 1\nprecison: fp32\n", AT "2:1: unknown key 'precison'; did you mean 'precision'? (fillmark run --help)" },
    { "val_batch: same\n", AT "1:1: unknown key 'val_batch'; did you mean 'val-batch'? (fillmark run --help)" },
    { "batch: 4\n", AT "1:1: batch: not a key for 'fillmark run'" },
    { "seed: 1\n\nseed: 2\n", AT "3:1: seed: key is there twice (first in line 1)" },
    { "precision: fp32\ncheckpoint:\n  - none\n  - block\n",
      AT "4:5: checkpoint: unknown value 'block'; did you mean 'blocks'?" BLOCKS "denseunet3d)" },
    { "precision: fp32,fp23\n", AT "1:17: precision: unknown value 'fp23'; did you mean 'fp32'? (fp32,tf32,fp16,bf16)" },
    { "precision: 'fp32,fp23'\n", AT "1:12: precision: unknown value 'fp23'; did you mean 'fp32'? (fp32,tf32,fp16,bf16)" },
    { "channels: \xc2\xbd,3/0\n", AT "1:13: channels: '3/0'" SCALE },
    { "precision: [fp32, \"fp32,bf16\"]\n", AT "1:19: precision: unknown value 'fp32,bf16' (fp32,tf32,fp16,bf16)" },
    { "memory: 4\n", AT "1:9: memory: '4' is 4 bytes" SMALL "did you mean '4GiB'?" },
    { "memory: 2GiB of it\n", AT "1:9: memory: '2GiB of it'" SIZE },
    { "memory:\n", AT "1:8: memory: its value is missing" },
    { "memory: ~\n", AT "1:9: memory: its value is missing" },
    { "memory: ''\n", AT "1:9: memory: its value is missing" },
    { "memory: [1GiB]\n", AT "1:1: memory: one value, not a list" },
    { "memory: {a: 1}\n", AT "1:1: memory: one value, not a mapping" },
    { "precision: []\n", AT "1:1: precision: an empty list; leave it out for the default" },
    { "precision: [fp32, [bf16]]\n", AT "1:19: precision: a list holds values alone" },
    { "precision: [fp32,\n  , bf16]\n", AT "2:3: did not find expected node content" },
    { "resume: yes\n", AT "1:9: resume: 'yes' is neither true nor false" },
    { "resume: true\n", AT "1:1: resume: which run? give its folder with --out DIR" },
    { "device: [cpu, none]\n", AT "1:15: device: 'none' is for 'fillmark plan': a run needs a device" },
    { "workload: [segformer, unet]\n",
      AT "1:23: workload: unknown workload 'unet' (fillmark show workloads lists them)" },
    /* settings */
    { "set: 4\n", AT "1:6: set: settings are 'key: value' lines below it" },
    { "set: [a]\n", AT "1:6: set: settings are 'key: value' lines below it" },
    { "set: {classes: 4, classes: 5}\n", AT "1:19: set classes: given twice; several values are a comma list" },
    { "set: {segformer: {variant: b0}, segformer.variant: b1}\n",
      AT "1:33: set segformer.variant: given twice; several values are a comma list" },
    { "set:\n  segformer: {variant: b0}\n  segformer: {classes: 4}\n", AT "3:3: set: key 'segformer' is there twice" },
    { "set:\n  segformer:\n    variant: [b0, b7]\n",
      AT "3:19: set segformer.variant: unknown value 'b7'; did you mean 'b0'? (b0,b1,b2,b3,b4,b5)" },
    { "set: {segformer: {inptu: 3x3}}\n",
      AT "1:19: set segformer.inptu: segformer has no setting 'inptu'; did you mean 'input'? "
      "(fillmark show workload segformer lists them)" },
    { "set: {segformer: {denseunet3d.input: 3x3}}\n",
      AT "1:19: set: a setting of segformer is named without its workload, not 'denseunet3d.input'" },
    { "set: {segformer: b0}\n", AT "1:18: set: settings are 'key: value' lines below it" },
    { "set: {inptu: 3x3}\n",
      AT "1:7: set inptu: no workload has such a setting; did you mean 'input'? (fillmark show workload NAME)" },
    { "set: {classes: {a: b}}\n", AT "1:7: set classes: a value or a list of values, not a mapping" },
    { "set: {segfomer: {variant: b1}}\n",
      AT "1:7: set segfomer: unknown workload 'segfomer'; did you mean 'segformer'? (fillmark show workloads lists them)" },
    { "set:\n  classes: 4\n  xyzzy:\n    variant: b1\n",
      AT "3:3: set xyzzy: unknown workload 'xyzzy' (fillmark show workloads lists them)" },
    { "set: {segfomer.variant: b1}\n",
      AT "1:7: set segfomer.variant: unknown workload 'segfomer'; did you mean 'segformer'? (fillmark show workloads lists them)" },
    { "workload: segformer\nset:\n  denseunet3d: {levels: 3}\n",
      AT "3:17: set denseunet3d.levels: denseunet3d is not among the workloads chosen" },
    { "set: {denseunet3d.levels: 3}\nworkload: [segformer]\n",
      AT "1:7: set denseunet3d.levels: denseunet3d is not among the workloads chosen" },
    { "workload: segformer\nset: {base_channels: 8}\n",
      AT "2:7: set base_channels: no chosen workload has such a setting (fillmark show workload NAME)" },
    { "set: {[a]: b}\n", AT "1:7: set: a key must be a name" },
    /* what YAML has and this has not */
    { "seed: &x 1\n", AT "1:7: anchors (&name) are not supported" },
    { "seed: *x\n", AT "1:7: aliases (*name) are not supported; write the value out" },
    { "seed: !!int 1\n", AT "1:7: tags (!name) are not supported" },
    { "precision: &p [fp32]\n", AT "1:12: anchors (&name) are not supported" },
    { "set: !x {classes: 4}\n", AT "1:6: tags (!name) are not supported" },
    { "<<: {seed: 1}\n", AT "1:1: unknown key '<<' (fillmark run --help)" },
    { "seed: 1\n---\nseed: 2\n", AT "2:1: a second document; one file is one configuration" },
    { "fp32\n", AT "1:1: a configuration is lines of 'key: value' (fillmark run --help)" },
    { "- seed\n", AT "1:1: a configuration is lines of 'key: value' (fillmark run --help)" },
    { "[a]: b\n", AT "1:1: a key must be a name" },
    { "seed: \"1\\0\"\n", AT "1:7: a NUL byte in a text" },
    /* no YAML */
    { "seed: 1\n  memory: 2GiB\n", AT "2:9: mapping values are not allowed in this context" },
    { "precision: [fp32\n", AT "2:1: did not find expected ',' or ']'" },
    { "\tseed: 1\n", AT "1:1: found character that cannot start any token" TAB },
    { "seed: 1\nset:\n\tclasses: 4\n", AT "3:1: found character that cannot start any token" TAB },
    { "seed: 1\nset:\n  \tclasses: 4\n", AT "3:3: found character that cannot start any token" TAB },
    { "", "config.yaml" NOTHING },
    { "# memory: 2GiB\n\n", "config.yaml" NOTHING },
    { "seed: \x01\n", AT "1:7: control characters are not allowed; the file must be UTF-8 text" },
    { "seed: \xff\n", AT "1:7: invalid leading UTF-8 octet; the file must be UTF-8 text" },
    { "seed: 1\n# \xc2\xbd \xff\n", AT "2:5: invalid leading UTF-8 octet; the file must be UTF-8 text" },
    { "seed: 1\r\n\rout: '\xc3('\n", AT "3:8: invalid trailing UTF-8 octet; the file must be UTF-8 text" },
    { "\xef\xbb\xbfout: \xff\n", AT "1:6: invalid leading UTF-8 octet; the file must be UTF-8 text" },
    { "seed: 1\n\nout: x\xe2\x82", AT "3:7: incomplete UTF-8 octet sequence; the file must be UTF-8 text" },
};

static void check(const struct row *row, const char *line)
{
    struct fm_options o;
    struct fm_err err = { 0 };
    if (fm_test_parse(line, &o, &err) != FM_INVALID) fail_msg("'%s' is taken", row->given);
    if (strcmp(err.text, row->text) != 0) fail_msg("'%s'\n  says %s\n  not  %s", row->given, err.text, row->text);
    assert_int_equal(err.status, FM_INVALID);
    fm_options_release(&o);
    assert_int_equal(fm_memory_live, 0);
}

static void test_commands(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(commands); i++) check(&commands[i], commands[i].given);
}

static void test_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(values); i++) check(&values[i], values[i].given);
}

static void test_settings(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(settings); i++) check(&settings[i], settings[i].given);
}

static void test_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(files); i++) {
        fm_test_write("config.yaml", files[i].given, strlen(files[i].given));
        check(&files[i], "run config.yaml");
    }
}

/* Limits that need long texts. */
static void test_limits(void **state)
{
    char text[60000];
    struct fm_options o;
    struct fm_err err = { 0 };
    (void)state;
    (void)snprintf(text, sizeof text, "run --precision %0129d", 0);
    assert_int_equal(fm_test_parse(text, &o, &err), FM_INVALID);
    assert_string_equal(err.text, "--precision: a value of 129 bytes is too long (at most 128)");
    fm_options_release(&o);
    (void)snprintf(text, sizeof text, "run --set classes=%048d", 4);
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_test_parse(text, &o, &err), FM_INVALID);
    assert_string_equal(err.text, "--set classes: a value of 48 bytes is too long (at most 47)");
    fm_options_release(&o);
    (void)snprintf(text, sizeof text, "run --out %04096d", 0);
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_test_parse(text, &o, &err), FM_INVALID);
    assert_string_equal(err.text, "--out: a value of 4096 bytes is too long (at most 4095)");
    fm_options_release(&o);
    /* 64 values are taken, 65 are not */
    for (int n = FM_LIST_MAX; n <= FM_LIST_MAX + 1; n++) {
        size_t at = (size_t)snprintf(text, sizeof text, "run --accumulate 1");
        for (int i = 2; i <= n; i++) at += (size_t)snprintf(text + at, sizeof text - at, ",%d", i);
        err = (struct fm_err){ 0 };
        assert_int_equal(fm_test_parse(text, &o, &err), n == FM_LIST_MAX ? FM_OK : FM_INVALID);
        assert_string_equal(err.text, n == FM_LIST_MAX ? "" : "--accumulate: more than 64 values");
        fm_options_release(&o);
    }
    size_t at = 0;
    for (int i = 0; i < 5000; i++) at += (size_t)snprintf(text + at, sizeof text - at, i ? ", ab" : "only: [ab");
    fm_test_write("config.yaml", text, at);
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_test_parse("run config.yaml", &o, &err), FM_INVALID);
    assert_string_equal(err.text, "config.yaml:1:16388: more than 4096 keys and values");
    fm_options_release(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands), cmocka_unit_test(test_values), cmocka_unit_test(test_settings),
        cmocka_unit_test(test_files), cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, fm_test_enter, fm_test_leave);
}
