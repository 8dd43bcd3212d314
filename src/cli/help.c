/* The help texts. Option lists come from the table in options.c, recipes and exit codes from the library. */
#include "cli/cli.h"

void cli_help(FILE *out)
{
    fputs("vitq - low-bit calibration and integer inference of vision transformers on OpenCL devices\n"
          "\n"
          "usage: vitq COMMAND [OPTIONS] ...\n"
          "\n"
          "  devices     list the OpenCL devices\n"
          "  inspect     say what is in a model\n"
          "  calibrate   turn an FP32 model and some photos into a low-bit one\n"
          "  sensitivity what quantizing each tensor costs, width by width\n"
          "  eval        accuracy and speed on labelled images\n"
          "  sweep       a grid of calibrations, each judged, in a database\n"
          "  predict     the likeliest classes of photos\n"
          "  export      write a model as ONNX\n"
          "  help        'vitq help COMMAND' or 'vitq help exit-codes'\n"
          "\n"
          "A first session:\n"
          "  vitq calibrate vit_tiny/ --images photos/ --bits w8a8 -o tiny.vitq.safetensors\n"
          "  vitq predict tiny.vitq.safetensors cat.jpg\n"
          "\n"
          "'vitq --version' prints the version.\n",
          out);
}

static void print_recipes(FILE *out)
{
    fputs("\nRecipes:\n", out);
    for (int i = 0; vq_recipe_name(i); i++) fprintf(out, "  %-10s %s\n", vq_recipe_name(i), vq_recipe_about(i));
}

static const struct {
    cli_command command;
    const char *before, *after; /* of the list of options */
} texts[] = {
    {CLI_DEVICES,
     "usage: vitq devices [OPTIONS]\n"
     "\n"
     "Lists the OpenCL devices with the numbers that --device takes. Without a GPU, Debian's package\n"
     "pocl-opencl-icd makes a device of the processor.\n",
     "Examples:\n"
     "  vitq devices\n"
     "  vitq devices --probe --json\n"},
    {CLI_INSPECT,
     "usage: vitq inspect MODEL [OPTIONS]\n"
     "\n"
     "Says what is in a model: architecture, sizes, preprocessing; for a quantized one also bits and\n"
     "quantizers of every layer and how it was made.\n"
     "MODEL is a folder as timm publishes it (model.safetensors, config.json) or as Hugging Face transformers\n"
     "saves it (with preprocessor_config.json; one file or shards), such a .safetensors file, or a\n"
     ".vitq.safetensors file. ViT, DeiT, DeiT III, DINOv2 and more: docs/models.md lists them.\n",
     "Examples:\n"
     "  vitq inspect vit_tiny/\n"
     "  vitq inspect tiny.vitq.safetensors --json\n"},
    {CLI_CALIBRATE,
     "usage: vitq calibrate MODEL --images PATH -o OUT.vitq.safetensors [OPTIONS]\n"
     "\n"
     "Chooses how to round every weight and activation of an FP32 model by looking at some photos (their\n"
     "labels are not used), and writes the quantized model. Takes photos like those the model will see;\n"
     "32 are enough for most models. The file appears when it is complete, never half-written.\n"
     "With --budget every tensor gets bits of its own, 2 to 8, chosen by what 'vitq sensitivity' measures:\n"
     "4.5 bits on average, of weights by their number and of activations by their values per image; or so\n"
     "many MB of file, activations then having those of --bits or a mean behind the slash. The uniform\n"
     "model of the same budget is made, too, and the better one of both is kept.\n",
     "Examples:\n"
     "  vitq calibrate vit_tiny/ --images photos/ --bits w8a8 -o tiny.vitq.safetensors\n"
     "  vitq calibrate vit_tiny/ --images photos/ --bits w4a4 --samples 64 --seed 1 -o tiny4.vitq.safetensors\n"
     "  vitq calibrate vit_tiny/ --images photos/ --recipe best --samples 256 --memory 600MB -o best.vitq.safetensors\n"
     "  vitq calibrate vit_tiny/ --images photos/ --recipe best --budget 4.5 -o tiny45.vitq.safetensors\n"
     "  vitq calibrate vit_tiny/ --images photos/ --recipe best --budget 4MB/4.5 -o tiny4mb.vitq.safetensors\n"
     "  vitq calibrate fashion_vit/ --images train-images-idx3-ubyte.gz -o fashion.vitq.safetensors\n"},
    {CLI_SENSITIVITY,
     "usage: vitq sensitivity MODEL --images PATH [OPTIONS]\n"
     "\n"
     "Says how much every tensor of an FP32 model suffers from few bits: each is quantized alone, at every\n"
     "width, all others staying float. The figures are squared errors of the logits, relative to the\n"
     "float model's: 0 is no loss, 1 is a model that knows nothing. They are summed up per layer, too.\n"
     "Tensors are the weights and the input of each linear layer, Q, K and V of an attention together, and\n"
     "its probabilities. 'vitq calibrate --budget' measures the same and chooses widths by it.\n",
     "Examples:\n"
     "  vitq sensitivity vit_tiny/ --images photos/ --recipe best\n"
     "  vitq sensitivity vit_tiny/ --images photos/ --bits-range 3..6 --json\n"},
    {CLI_EVAL,
     "usage: vitq eval MODEL --images PATH --labels FILE [OPTIONS]\n"
     "\n"
     "Runs a model on labelled images and counts how often the right class came first (top-1) or among\n"
     "the first five (top-5). images_per_second is the model alone, without the first batch;\n"
     "images_per_second_total includes decoding. Logits come in the order of the labels file; skipped\n"
     "images have no row.\n",
     "Examples:\n"
     "  vitq eval vit_tiny/ --images photos/ --labels photos/labels.csv\n"
     "  vitq eval tiny.vitq.safetensors --images photos/ --labels photos/labels.csv --batch 32 --json\n"
     "  vitq eval tiny.vitq.safetensors --mode fake --images photos/ --labels photos/labels.csv --limit 100\n"
     "  vitq eval fashion.vitq.safetensors --images t10k-images-idx3-ubyte.gz --labels t10k-labels-idx1-ubyte.gz\n"},
    {CLI_SWEEP,
     "usage: vitq sweep MODEL --images PATH --val PATH --labels FILE --db FILE [OPTIONS]\n"
     "       vitq sweep --db FILE --show [--json | --csv]\n"
     "\n"
     "Calibrates a model at every point of a grid, judges each result on labelled images, and keeps the\n"
     "counts in a database. Options that take a LIST span the grid: every combination is one point. The\n"
     "FP32 model is judged once, as reference.\n"
     "Interrupted or killed, the same command goes on where it was. Several processes may work on one\n"
     "database at a time. What is there already is not made again; a larger grid adds to it. A point that\n"
     "fails is recorded, the others go on, and the exit code tells.\n",
     "Examples:\n"
     "  vitq sweep vit_tiny/ --images calib/ --val val/ --labels val/labels.csv --db sweep.db \\\n"
     "      --recipes repq,minmax --bits w8a8,w6a6,w4a4 --seeds 0..4\n"
     "  vitq sweep vit_tiny/ --images calib/ --val val/ --labels val/labels.csv --db sweep.db \\\n"
     "      --samples 8,16,32,64 --seeds first,1,2 --modes int --limit 1000\n"
     "  vitq sweep --db sweep.db --show\n"
     "  sqlite3 sweep.db \"SELECT recipe, bits, mode, avg(100.0 * top1 / n) FROM points\n"
     "      WHERE state = 'done' GROUP BY recipe, bits, mode\"\n"},
    {CLI_PREDICT,
     "usage: vitq predict MODEL IMAGE... [OPTIONS]\n"
     "\n"
     "Prints the likeliest classes of each photo (PNG or JPEG): probability, class number, name.\n",
     "Examples:\n"
     "  vitq predict tiny.vitq.safetensors cat.jpg\n"
     "  vitq predict vit_tiny/ *.png --topk 1 --json\n"},
    {CLI_EXPORT,
     "usage: vitq export MODEL -o OUT.onnx [OPTIONS]\n"
     "\n"
     "Writes a model as ONNX for ONNX Runtime, OpenVINO and others: a quantized one with the codes, scales\n"
     "and tables of 'vitq eval --mode fake' in QuantizeLinear, DequantizeLinear and Gather, an FP32 one in\n"
     "floats. The batch is any. Input 'pixel_values' is what timm's and Hugging Face's image processors give;\n"
     "output is 'logits'. The file appears when it is complete, never half-written.\n"
     "\n"
     "Float sums depend on their order, so a runtime's logits drift from ours like those of another rounding.\n"
     "--exact leaves no such sums: whole numbers multiply, scales follow, norms and softmax are in double.\n",
     "Examples:\n"
     "  vitq export tiny.vitq.safetensors -o tiny.onnx\n"
     "  vitq export tiny4.vitq.safetensors --int4 -o tiny4.onnx\n"
     "  vitq export tiny4.vitq.safetensors --exact -o tiny4_exact.onnx\n"
     "  vitq export tiny.vitq.safetensors --input u8 -o tiny_u8.onnx --json\n"},
};

void cli_help_command(FILE *out, cli_command command)
{
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i].command != command) continue;
        fprintf(out, "%s\nOptions:\n", texts[i].before);
        cli_options_print(out, command);
        if (command == CLI_CALIBRATE || command == CLI_SENSITIVITY || command == CLI_SWEEP) print_recipes(out);
        fprintf(out, "\n%s", texts[i].after);
    }
}

void cli_help_exit_codes(FILE *out)
{
    fputs("Every failure prints one line on stderr. Exit codes:\n"
          "    0  done\n"
          "    1  the command line was not understood\n",
          out);
    for (int i = VQ_ERR_INVALID_ARG; i < VQ_STATUS_COUNT; i++)
        if (i != VQ_ERR_CANCELLED) fprintf(out, "  %3d  %s\n", i, vq_status_name((vq_status)i));
    fputs("  130  interrupted with Ctrl-C\n"
          "  143  terminated\n",
          out);
}
