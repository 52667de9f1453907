with refused as (
    {%- for table in perennial.contract_tables() %}
    select
        '{{ table }}' as table_name,
        refusal,
        raw_row
    from {{ ref('checked_' ~ table) }}
    where refusal is not null
    {{- '\n    union all' if not loop.last }}
    {%- endfor %}
    {%- if perennial.setting('shop') == 'files' %}
    union all
    -- Lines that could not even be cut into columns.
    select
        table_name,
        'unreadable line: line ' || line_number || ' of ' || file_name || ': ' || error,
        line
    from {{ perennial.setting('raw_schema') }}.unreadable_lines
    {%- endif %}
),

numbered as (
    select
        table_name,
        refusal,
        raw_row,
        row_number() over (
            partition by table_name, raw_row
            order by refusal
        ) as copy_number
    from refused
)

select
    md5(concat_ws('|', table_name, raw_row, copy_number)) as quarantine_id,
    table_name,
    split_part(refusal, ': ', 1) as reason,
    substr(refusal, length(split_part(refusal, ': ', 1)) + 3) as detail,
    raw_row
from numbered
