-- depends_on: {{ ref('customer_tag_rules') }}
with tagged as (
    {%- for tag, condition in perennial.tag_rules() %}
    select
        customer_id,
        '{{ tag | replace("'", "''") }}' as tag
    from {{ ref('customer_profiles') }}
    where {{ condition }}

    union all
    {%- endfor %}

    -- Without a rule there is no tag.
    select
        customer_id,
        '' as tag
    from {{ ref('customer_profiles') }}
    where false
)

select
    cast(customer_id as string) as customer_id,
    cast(tag as string) as tag
from tagged
