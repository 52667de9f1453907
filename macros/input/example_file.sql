{#- A parquet file of an example shop, in the folder that RAW (raw_path) names. -#}
{% macro example_file(name) -%}
    {%- set folder = perennial.setting('raw_path') -%}
    {%- if execute and folder is none -%}
        {% do perennial.stop("the shop '" ~ perennial.setting('shop') ~ "' needs the folder of its "
            ~ 'files: RAW=<folder>; its README in examples/ says where to get them.') %}
    {%- endif -%}
    {%- set path = ((folder or '') | string) ~ '/' ~ name -%}
    {%- if execute and not run_query("select 1 from glob('" ~ path | replace("'", "''") ~ "')").rows -%}
        {% do perennial.stop('no file ' ~ path ~ '; the README of the shop in examples/ says where to get it.') %}
    {%- endif -%}
    read_parquet('{{ path | replace("'", "''") }}')
{%- endmacro %}
