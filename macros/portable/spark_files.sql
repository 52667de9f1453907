{#- How Spark finds raw tables: there is no information_schema, and files are parquet. -#}

{% macro spark__relation_as_found(table) %}
    {% set schema = perennial.setting('raw_schema') %}
    {% for row in run_query('show tables in ' ~ schema).rows if row[1] | lower == table %}
        {% do return(api.Relation.create(schema=schema, identifier=table, type='table')) %}
    {% endfor %}
    {% do return(none) %}
{% endmacro %}


{#-
Make a view of each raw table whose parquet files lie in the folder `raw_path`, under the same
names as on DuckDB. Its listing of files serves to find them.
-#}
{% macro spark__load_raw_files() %}
    {% set folder = perennial.setting('raw_path') %}
    {% if folder is none %}
        {% do perennial.stop('shop: files needs a folder of parquet files; give it as '
            ~ 'PERENNIAL_RAW or the var raw_path.') %}
    {% endif %}
    {% set schema = perennial.setting('raw_schema') %}
    {% do run_query('create schema if not exists ' ~ schema) %}
    {% do run_query('create or replace view ' ~ schema ~ ".unreadable_lines as select '' as"
        ~ " table_name, '' as file_name, cast(0 as bigint) as line_number, '' as line, '' as error"
        ~ ' where false') %}
    {% set names = [] %}
    {% for row in run_query('select path from binaryFile.`' ~ folder ~ '/*`').rows %}
        {% do names.append(row[0].split('/')[-2:]) %}
    {% endfor %}
    {#- And what was learned where Python runs. -#}
    {% for table in perennial.contract_tables() + ['churn_weights'] %}
        {% set patterns = [] %}
        {% for parent, name in names if name.endswith('.parquet') %}
            {% if name == table ~ '.parquet' %}
                {% do patterns.append(name) %}
            {% elif parent == table %}
                {% do patterns.append(table ~ '/*.parquet') %}
            {% elif name.startswith(table ~ '_') %}
                {% do patterns.append(table ~ '_*.parquet') %}
            {% endif %}
        {% endfor %}
        {% set patterns = patterns | unique | list %}
        {% if patterns | length > 1 %}
            {% do perennial.stop("the table '" ~ table ~ "' lies in " ~ folder
                ~ ' more than once, as ' ~ patterns | join(' and ') ~ '; keep one of them.') %}
        {% elif patterns %}
            {% do run_query('create or replace view ' ~ schema ~ '.' ~ table
                ~ ' as select * from parquet.`' ~ folder ~ '/' ~ patterns[0] ~ '`') %}
        {% else %}
            {% do run_query('drop view if exists ' ~ schema ~ '.' ~ table) %}
        {% endif %}
    {% endfor %}
{% endmacro %}
