{#- The settings that this warehouse was built with, so that a reader of a number can know. -#}
{%- for name in perennial.settings_catalogue() if name != 'raw_path' %}
select
    cast('{{ name }}' as string) as name,
    cast(
        {%- if name == 'as_of' %}
        (select max(as_of) from {{ ref('clock') }})
        {%- else %}
        {%- set value = perennial.setting(name) %}
        {%- set value = tojson(value) if value is mapping else value %}
        {%- if value is none %}
        null
        {%- else %}
        '{{ (value | string) | replace("'", "''") }}' -- noqa: LT05
        {% endif %}
        {%- endif %} as string
    ) as value
{{ 'union all' if not loop.last }}
{%- endfor %}
