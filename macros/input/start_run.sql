{#- Before the first model: settings are valid, and the raw tables can be read. -#}
{% macro start_run() %}
    {% if not execute or flags.WHICH not in ['build', 'run', 'seed', 'test'] %}
        {% do return('') %}
    {% endif %}
    {% do perennial.refuse_shared_names() %}
    {% do perennial.validate_settings() %}
    {% set zone = run_query('select ' ~ perennial.session_time_zone()).rows[0][0] %}
    {% if zone not in ['UTC', 'Etc/UTC'] %}
        {% do perennial.stop("the session's time zone is " ~ zone
            ~ '; set it to UTC as profiles.yml does.') %}
    {% endif %}
    {#- Before anything asks dbt for columns: that opens a transaction, which a hook rolls back. -#}
    {% if flags.WHICH in ['build', 'run'] and perennial.incremental_strategy() != 'none' %}
        {% do perennial.start_increments() %}
        {% do perennial.load_forgotten() %}
    {% endif %}
    {% set shop = perennial.setting('shop') %}
    {% set production = perennial.production() if flags.WHICH in ['build', 'run'] else none %}
    {% if production %}
        {% do perennial.read_from_production(production) %}
    {% elif shop == 'files' and flags.WHICH in ['build', 'run'] %}
        {% do perennial.load_raw_files() %}
    {% endif %}
    {% if shop in ['files', 'tables'] and flags.WHICH in ['build', 'run'] %}
        {% for table in perennial.contract_tables() %}
            {% do perennial.raw_columns(table, perennial.relation_as_found(table)) %}
        {% endfor %}
    {% endif %}
    {% do return('') %}
{% endmacro %}


{#- The names under which a table may lie in a folder, in the order they are sought. -#}
{% macro file_patterns(table) %}
    {% set patterns = [] %}
    {% for extension in ['csv', 'csv.gz', 'parquet'] %}
        {% for shape in ['', '_*', '/*'] %}
            {% do patterns.append(table ~ shape ~ '.' ~ extension) %}
        {% endfor %}
    {% endfor %}
    {% do return(patterns) %}
{% endmacro %}


{#-
The files of a folder that hold raw tables: table -> {pattern: files in their order}. One
question for all of them, because dbt takes some milliseconds for each.

Arguments:
  folder   the folder, as it may stand in a quoted text
-#}
{% macro files_by_table(folder) %}
    {% set questions = [] %}
    {% for table in perennial.contract_tables() %}
        {% for pattern in perennial.file_patterns(table) %}
            {% do questions.append("select '" ~ table ~ "' as table_name, '" ~ pattern
                ~ "' as pattern, file from glob('" ~ folder ~ '/' ~ pattern ~ "')") %}
        {% endfor %}
    {% endfor %}
    {% set found = {} %}
    {% for row in run_query(questions | join(' union all ') ~ ' order by all').rows %}
        {% do found.setdefault(row[0], {}).setdefault(row[1], []).append(row[2]) %}
    {% endfor %}
    {% do return(found) %}
{% endmacro %}


{#-
Read the folder `raw_path` into the schema `raw`: a csv file becomes a table of texts (it is
parsed once, here, and staging gives the types), a parquet file a view. Lines of a csv file
that cannot be cut into columns are kept in raw.unreadable_lines, which `quarantine` shows.
-#}
{% macro load_raw_files() %}
    {% do adapter.dispatch('load_raw_files', 'perennial')() %}
{% endmacro %}


{% macro default__load_raw_files() %}
    {% set folder = perennial.setting('raw_path') %}
    {% if folder is none %}
        {% do perennial.stop('shop: files needs a folder; give it as RAW=<folder>, '
            ~ 'PERENNIAL_RAW or the var raw_path.') %}
    {% endif %}
    {% set folder = (folder | string) | replace("'", "''") %}
    {% set schema = perennial.setting('raw_schema') %}
    {% do run_query('create schema if not exists ' ~ schema) %}
    {% do run_query('create or replace table ' ~ schema ~ '.unreadable_lines '
        ~ '(table_name varchar, file_name varchar, line_number bigint, line varchar, error varchar)') %}
    {% set files_by_table = perennial.files_by_table(folder) %}
    {% for table in perennial.contract_tables() %}
        {% set target_name = schema ~ '.' ~ table %}
        {% set existing = perennial.relation_as_found(table) %}
        {% if existing is not none %}
            {% do run_query('drop ' ~ existing.type ~ ' ' ~ target_name) %}
        {% endif %}
        {% set found = files_by_table.get(table, {}) %}
        {% if found | length > 1 %}
            {% do perennial.stop("the table '" ~ table ~ "' lies in " ~ perennial.setting('raw_path')
                ~ ' more than once, as ' ~ found.keys() | join(' and ') ~ '; keep one of them.') %}
        {% endif %}
        {% for pattern, files in found.items() %}
            {% set quoted = [] %}
            {% for file in files %}
                {% do quoted.append("'" ~ file | replace("'", "''") ~ "'") %}
            {% endfor %}
            {% set list = '[' ~ quoted | join(', ') ~ ']' %}
            {% if pattern.endswith('.parquet') %}
                {% do run_query('create view ' ~ target_name ~ ' as select * from '
                    ~ perennial.without_forgotten_of_file(
                        table, 'read_parquet(' ~ list ~ ', union_by_name = true)')) %}
            {% else %}
                {% for file in quoted %}
                    {% do perennial.load_csv_file(table, target_name, file, loop.first) %}
                {% endfor %}
            {% endif %}
        {% endfor %}
    {% endfor %}
{% endmacro %}


{#-
Add one csv file to a raw table, by the names of its columns: DuckDB cannot both match columns
by name over several files and keep the lines that it rejects.

Arguments:
  table        name of the table in the raw contract
  target_name  the table to write, with its schema
  file         the file's path, quoted
  is_first     make the table; otherwise add to it
-#}
{% macro load_csv_file(table, target_name, file, is_first) %}
    {% set rows = perennial.without_forgotten_of_file(table, 'read_csv(' ~ file
        ~ ", all_varchar = true, header = true, delim = ',', quote = '\"', escape = '\"'"
        ~ ', ignore_errors = true, store_rejects = true)') %}
    {% do run_query('drop table if exists temp.reject_errors;'
        ~ ' drop table if exists temp.reject_scans; drop table if exists temp.raw_file') %}
    {% do run_query('create ' ~ ('table ' ~ target_name if is_first else 'temp table raw_file')
        ~ ' as select * from ' ~ rows) %}
    {% if not is_first %}
        {% for column in run_query('describe temp.raw_file').columns[0].values() %}
            {% do run_query('alter table ' ~ target_name ~ ' add column if not exists "'
                ~ column | replace('"', '""') ~ '" varchar') %}
        {% endfor %}
        {% do run_query('insert into ' ~ target_name ~ ' by name select * from temp.raw_file') %}
    {% endif %}
    {% do run_query('insert into ' ~ perennial.setting('raw_schema') ~ ".unreadable_lines select '"
        ~ table ~ "', " ~ file ~ ', line, any_value(csv_line)'
        ~ ", string_agg(error_message, '; ' order by column_idx)"
        ~ ' from reject_errors where ' ~ perennial.is_of_nobody_forgotten() ~ ' group by line') %}
{% endmacro %}


{#-
In an installed package, dbt looks for the model of a plain ref() in the installing project
first, unless a flag of that project says otherwise: its own `orders` would be taken for ours.
Only staging reads models of another project, and names them with their project.
-#}
{% macro refuse_shared_names() %}
    {% set shared = [] %}
    {% for node in graph.nodes.values()
        if node.package_name == 'perennial' and 'staging' not in node.original_file_path %}
        {% for parent in node.depends_on.nodes
            if parent.split('.')[0] in ['model', 'seed', 'snapshot']
            and parent.split('.')[1] != 'perennial' and parent.split('.')[2] not in shared %}
            {% do shared.append(parent.split('.')[2]) %}
        {% endfor %}
    {% endfor %}
    {% if shared %}
        {% do perennial.stop('this project has models of the same name as models of Perennial: '
            ~ shared | sort | join(', ') ~ '. Set require_ref_searches_node_package_before_root: '
            ~ 'true under `flags` in dbt_project.yml, so that each finds its own, or rename them.') %}
    {% endif %}
    {% do return('') %}
{% endmacro %}
