"""Turns HAM10000, or another dermatology data set, into splits that never share a lesion.

    python data_prep.py --source sample --output data/sample
    python data_prep.py --source kaggle --output data/ham10000 --explore
    python data_prep.py --source /path/to/ham10000 --output data/ham10000
    python data_prep.py --source /path/to/ham10000 --output data/ham10000 \\
        --extra_test isic2018=/path/to/ISIC2018_Task3_Test_Input:/path/to/ISIC2018_Task3_Test_GroundTruth.csv
    python data_prep.py --source /path/to/ham10000 --output data/ham10000-milk10k \\
        --extra_train milk10k=/path/to/milk10k:metadata.csv:MILK10k_Training_Metadata.csv \\
        --extra_test milk10k=/path/to/milk10k:metadata.csv:MILK10k_Training_Metadata.csv@0.2
    python data_prep.py --source /path/to/isic2019 --output data/isic2019 --image_column image \\
        --metadata ISIC_2019_Training_GroundTruth.csv ISIC_2019_Training_Metadata.csv

The output is a folder in the Hub's own layout: `datasets.load_dataset("data/ham10000")` reads it.
The folder appears whole or not at all, and one run reports every fault of the tables and of the images.
"""

from __future__ import annotations

from shlex import quote

from lesions.faults import exits_cleanly

# --help answers at once, and an error of an import is a clear one, so `main` imports what it needs.
EXPLORED = ["explore/README.md", "explore/index.html", "explore/*.png"]
PUBLISHED = ["README.md", "audit.json", "splits.csv", "data/*-?????-of-?????.parquet", *EXPLORED]
WRITTEN = [*PUBLISHED, "audit_pairs.png"]  # which shows images


@exits_cleanly
def main() -> None:
    from lesions.data.options import parse_options

    options = parse_options(__doc__)

    from lesions.data.audit import describe, summary
    from lesions.data.duplicates.groups import describe_merges, find_merges, no_merges
    from lesions.data.extra import check_left, leave_out_leaks, leave_out_of_tests
    from lesions.data.sources.source import open_source
    from lesions.data.splits import divide
    from lesions.data.tables import read_tables
    from lesions.data.writing import write_dataset
    from lesions.hub import Destination, check_access, push_folder
    from lesions.output.files import whole_folder
    from lesions.output.places import alone, check_folder
    from lesions.output.plain_text import for_terminal

    ours = WRITTEN if (options.output / "audit.json").is_file() else []
    check_folder(options.output, ours)
    destination = Destination(options.hub_dataset_id, "dataset", options.private) if options.hub_dataset_id else None
    if destination:
        check_access(destination)
    columns = options.image_column, options.label_column, options.group_column, options.dataset_config
    with alone(options.output), open_source(options.source, options.cache_dir, options.metadata, *columns) as source:
        table, classes, left_out = read_tables(source, options)
        paths = dict(zip(table["image_id"], table["path"], strict=True))
        searched = options.audit != "off" and not source.synthetic  # no synthetic lesion is drawn twice
        pairs = find_merges(table.drop_duplicates("image_id"), options.num_proc) if searched else no_merges()
        table = leave_out_of_tests(table, pairs, left_out)
        merged = pairs if options.audit == "merge" else no_merges()
        table = divide(table, merged, options.seed, options.folds, options.fold)
        table = leave_out_leaks(table, pairs, left_out)
        check_left(table, options.extra_train, options.extra_test)
        audit = describe(options, source, classes, table, left_out)
        audit["duplicates"] = describe_merges(table, pairs, options.audit if searched else "off")
        with whole_folder(options.output, ours) as folder:
            write_dataset(folder, table, pairs, paths, audit, options)
    print(for_terminal("\n".join(summary(audit))))
    print(f"\n{options.output} is ready. Next:")
    place = quote(str(options.output))
    print(f"  accelerate launch train.py recipes/deit-tiny.yaml --dataset {place} --output_dir runs/deit-tiny")
    if destination:
        what_next = f"{options.output} is complete; repeat the same command to push it"
        url = push_folder(destination, options.output, PUBLISHED, "Data set and card", what_next, ours=PUBLISHED)
        print(f"\npublished at {url}")


if __name__ == "__main__":
    main()
